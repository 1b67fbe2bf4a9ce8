//! What the scripts of latches, limiters and fences answer, and those that only look.

use std::time::Duration;

use super::unknown;
use crate::types::error::{Error, Result};
use crate::wire::record;
use crate::wire::value::{PERMIT, Reply};

fn texts(list: Option<Reply>) -> Result<Vec<String>> {
    list.map_or(Ok(Vec::new()), Reply::items)?
        .into_iter()
        .map(|item| Ok(String::from_utf8_lossy(&item.bytes()?).into_owned()))
        .collect()
}

fn numbers(list: Option<Reply>) -> Result<Vec<u64>> {
    let items = list.map_or(Ok(Vec::new()), Reply::items)?.into_iter();
    Ok(items.map(|item| item.count().unwrap_or(0)).collect())
}

/// A holder in a record.
#[derive(Debug)]
pub(crate) struct RecordHolder {
    pub(crate) id: String,
    /// The end of its lease, ms.
    pub(crate) ends: u64,
    pub(crate) weight: Option<u32>,
    /// Of a claim: how many it missed before.
    pub(crate) claim: Option<u32>,
}

/// A waiter in a record.
#[derive(Debug)]
pub(crate) struct RecordWaiter {
    pub(crate) id: String,
    /// How long ago it showed a sign of life, ms.
    pub(crate) seen: u64,
}

/// A record as `inspect` lists it.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) stamp: u64,
    pub(crate) token: u64,
    pub(crate) queued: u64,
    pub(crate) holders: Vec<RecordHolder>,
    pub(crate) waiters: Vec<RecordWaiter>,
    /// The weight of shared holders.
    pub(crate) used: u64,
    /// The capacity, if the record has it.
    pub(crate) capacity: Option<u64>,
    /// How many holds there are, listed or not.
    pub(crate) holds: u32,
    /// Of a counted primitive: how many are over and still in the record, and in `used`.
    pub(crate) ended: u64,
    /// What a thousand of these have.
    pub(crate) over: u64,
}

/// The answer to `inspect`.
#[derive(Debug)]
pub(crate) enum InspectReply {
    Nothing,
    Record(Record),
    Foreign,
}

impl InspectReply {
    pub(crate) fn read(reply: Reply) -> Result<Self> {
        match reply.int_at(0)? {
            0 => return Ok(Self::Nothing),
            1 => {}
            8 => return Ok(Self::Foreign),
            code => return Err(unknown("inspect", code)),
        }
        let (stamp, token, queued) = (reply.count_at(1)?, reply.count_at(2)?, reply.count_at(3)?);
        let (used, stored) = (reply.int_at(6)?, reply.count_at(7)?);
        let (holds, ended, over) = (reply.count_at(9)?, reply.count_at(10)?, reply.count_at(11)?);
        let mut parts = reply.items()?.into_iter().skip(4);
        let held = texts(parts.next())?;
        let waiters = texts(parts.next())?;
        let mut weights = numbers(parts.nth(2))?.into_iter();
        let mut claims = numbers(parts.nth(3))?.into_iter();
        let mut seen = numbers(parts.next())?.into_iter();
        let small = |number: Option<u64>| u32::try_from(number?).ok();
        Ok(Self::Record(Record {
            stamp,
            token,
            queued,
            holders: held
                .chunks_exact(2)
                .map(|pair| RecordHolder {
                    id: pair[0].clone(),
                    ends: pair[1].parse().unwrap_or(0),
                    weight: small(weights.next()),
                    claim: small(claims.next()).and_then(|claim| claim.checked_sub(1)),
                })
                .collect(),
            waiters: waiters
                .into_iter()
                .map(|id| RecordWaiter {
                    id,
                    seen: seen.next().unwrap_or(0),
                })
                .collect(),
            used: u64::try_from(used).unwrap_or(0),
            capacity: (stored > 0).then_some(record::capacity(stored)),
            holds: u32::try_from(holds).unwrap_or(u32::MAX),
            ended,
            over,
        }))
    }
}

/// The answer to `latch`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum LatchReply {
    /// What is left, and nothing else.
    Left(u64),
    /// Finished, or what is left of this generation.
    Passed {
        stamp: u64,
        generation: u64,
        left: u64,
        refused: bool,
        /// Something is left of generations that are over, for another request.
        more: bool,
    },
    Queued {
        stamp: u64,
        generation: u64,
    },
    Unfinished,
    Late {
        stamp: u64,
    },
    Ended,
    QueueFull,
    Foreign,
    /// Made with this count.
    OtherCount(u64),
    Missing,
    Reset,
}

impl LatchReply {
    /// The server's stamp, µs, if it is in the answer.
    pub(crate) fn read(reply: &Reply) -> Result<(Option<u64>, Self)> {
        if reply.alone().is_some() {
            return Ok((None, Self::Left(reply.count()?)));
        }
        let stamp = reply.count_at(1)?;
        let answer = match reply.int_at(0)? {
            1 => Self::Passed {
                stamp,
                generation: reply.count_at(2)?,
                left: reply.count_at(3)?,
                refused: reply.int_at(4)? != 0,
                more: reply.int_at(5)? != 0,
            },
            2 => Self::Queued {
                stamp,
                generation: reply.count_at(2)?,
            },
            3 => Self::Unfinished,
            4 => Self::Late { stamp },
            5 => Self::Ended,
            6 => Self::QueueFull,
            8 => Self::Foreign,
            9 => Self::OtherCount(reply.count_at(2)?),
            10 => Self::Missing,
            11 => Self::Reset,
            code => return Err(unknown("latch", code)),
        };
        Ok((Some(stamp), answer))
    }
}

/// The answer to `peek`.
#[derive(Debug)]
pub(crate) enum PeekReply {
    Missing,
    Latch {
        number: u64,
        left: u64,
        initial: u64,
        waiting: u64,
        /// Ids of those who wait.
        waiters: Vec<String>,
    },
    Foreign,
}

impl PeekReply {
    pub(crate) fn read(reply: Reply) -> Result<Self> {
        match reply.int_at(0)? {
            0 => return Ok(Self::Missing),
            1 => {}
            8 => return Ok(Self::Foreign),
            code => return Err(unknown("peek", code)),
        }
        Ok(Self::Latch {
            number: reply.count_at(1)?,
            left: reply.count_at(2)?,
            initial: reply.count_at(3)?,
            waiting: reply.count_at(4)?,
            waiters: texts(reply.items()?.into_iter().nth(5))?,
        })
    }
}

/// The answer to `fence`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum AdmitReply {
    /// A token above it was seen: this one.
    Stale(u64),
    /// It is the highest now; or it is 0, and this is.
    Admitted(u64),
    /// It is more than a day ahead of the clock, and of the highest that was seen.
    TooFarAhead,
    Foreign,
}

impl AdmitReply {
    pub(crate) fn read(reply: &Reply) -> Result<Self> {
        Ok(match reply.int_at(0)? {
            0 => Self::Stale(reply.count_at(1)?),
            1 => Self::Admitted(reply.count_at(1)?),
            7 => Self::TooFarAhead,
            8 => Self::Foreign,
            code => return Err(unknown("fence", code)),
        })
    }
}

/// The answer to `fence_pipeline`.
#[derive(Debug)]
pub(crate) enum PipelineReply {
    /// The token is stale: nothing was done.
    Stale,
    /// It is too far ahead: nothing was done.
    TooFarAhead,
    /// These were done; `error`: of the one that was not.
    Ran {
        replies: Vec<Reply>,
        error: Option<String>,
    },
    Foreign,
}

impl PipelineReply {
    pub(crate) fn read(reply: Reply) -> Result<Self> {
        match reply.int_at(0)? {
            0 => return Ok(Self::Stale),
            1 => {}
            7 => return Ok(Self::TooFarAhead),
            8 => return Ok(Self::Foreign),
            code => return Err(unknown("fence_pipeline", code)),
        }
        let mut parts = reply.items()?.into_iter().skip(2);
        let error = parts.next().map_or(Ok(Vec::new()), Reply::bytes)?;
        let error = String::from_utf8_lossy(&error).into_owned();
        Ok(Self::Ran {
            replies: parts.next().map_or(Ok(Vec::new()), Reply::items)?,
            error: (!error.is_empty()).then_some(error),
        })
    }
}

/// The answer to `gcra` and `window`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ReserveReply {
    Reserved {
        wait: Duration,
        /// The debt, or what is left and when all is back: see the scripts.
        state: (u64, u64),
        /// The id of the reservation before it.
        before: u64,
    },
    Refused {
        wait: Duration,
        state: (u64, u64),
    },
    Late,
    Foreign,
    /// Made with this rate.
    Other(String),
    /// The rate was set at the server, which does not have it any longer.
    Gone,
}

fn config_of(reply: Reply) -> Result<String> {
    let config = reply.items()?.into_iter().nth(2);
    let bytes = config.map_or(Ok(Vec::new()), Reply::bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

impl ReserveReply {
    /// The server's stamp, µs, and the answer.
    pub(crate) fn read(reply: Reply) -> Result<(u64, Self)> {
        let stamp = reply.count_at(1)?;
        let state = || Ok::<_, Error>((reply.count_at(3)?, reply.count_at(4)?));
        let answer = match reply.int_at(0)? {
            1 => Self::Reserved {
                wait: reply.us_at(2, PERMIT)?,
                state: state()?,
                before: reply.count_at(5)?,
            },
            3 => Self::Refused {
                wait: reply.us_at(2, PERMIT)?,
                state: state()?,
            },
            4 => Self::Late,
            8 => Self::Foreign,
            9 => Self::Other(config_of(reply)?),
            10 => Self::Gone,
            code => return Err(unknown("gcra", code)),
        };
        Ok((stamp, answer))
    }
}

/// The answer to `gcra_change`, `window_change` and `limiter_reset`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ChangeReply {
    Done,
    Late,
    Foreign,
    /// Made with another algorithm.
    Other(String),
}

impl ChangeReply {
    /// The server's stamp, µs, and the answer.
    pub(crate) fn read(reply: Reply) -> Result<(u64, Self)> {
        let stamp = reply.count_at(1)?;
        let answer = match reply.int_at(0)? {
            1 => Self::Done,
            4 => Self::Late,
            8 => Self::Foreign,
            9 => Self::Other(config_of(reply)?),
            code => return Err(unknown("gcra_change", code)),
        };
        Ok((stamp, answer))
    }
}
