//! The replies of the scripts, with an enum for each. Only this module knows their codes.
//!
//! The header of each script documents the same codes, and a test compares the two in both
//! directions.
//!
//! - here: scripts that change holds and places;
//! - `other`: latches, limiters, fences, and inspection.

mod other;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub(crate) use other::{
    AdmitReply, ChangeReply, InspectReply, LatchReply, PeekReply, PipelineReply, Record, RecordHolder,
    RecordWaiter, ReserveReply,
};

use super::value::{HOLD, PERMIT, Reply};
use crate::types::error::{Error, ErrorKind, Result};
use crate::types::loss::Loss;

/// Until the first hold ends; -1: there is none.
fn wake_at(reply: &Reply, index: usize) -> Result<Option<Duration>> {
    if reply.int_at(index)? == -1 {
        return Ok(None);
    }
    reply.ms_at(index, HOLD).map(Some)
}

fn delay_at(reply: &Reply, index: usize) -> Result<Option<Duration>> {
    reply.if_there(index, |reply, index| reply.us_at(index, HOLD))
}

fn unknown(script: &str, code: i64) -> Error {
    Error::new(
        ErrorKind::Protocol,
        format!("the script `{script}` gave an answer that is not of the protocol: {code}"),
    )
}

/// A hold, as the server has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Grant {
    /// 0: it is shared.
    pub(crate) token: u64,
    pub(crate) left: Duration,
    /// It has to be confirmed.
    pub(crate) claim: bool,
    /// What it has, if that is not its weight.
    pub(crate) weight: Option<u32>,
    /// How long until it may start.
    pub(crate) delay: Option<Duration>,
}

/// The answer to `acquire`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum AcquireReply {
    /// Granted for the whole lease; the token of an exclusive hold is the stamp.
    Fresh,
    Granted(Grant),
    Queued {
        /// Until the first hold ends; `None`: there is none.
        wake: Option<Duration>,
        /// The step met its bound: look again at once.
        more: bool,
    },
    Busy {
        /// More is over than the step could settle: it may not be busy, which another call finds out.
        more: bool,
    },
    Late,
    /// The attempt has ended.
    Ended,
    QueueFull,
    /// The floor is more than a day ahead.
    FloorAhead,
    Foreign,
    /// Made with another capacity.
    OtherCapacity(u64),
    /// It asks for more than this, which is all there is.
    TooLarge(u64),
    /// The hold that was to be upgraded has ended.
    BaseEnded(Why),
    /// It could start only then.
    TooLate(Duration),
    /// Made with another rate, or one with and one without.
    OtherRate,
}

impl AcquireReply {
    /// The server's stamp, µs, and the answer.
    pub(crate) fn read(reply: &Reply) -> Result<(u64, Self)> {
        if let Some(stamp) = reply.stamp_alone()? {
            return Ok((stamp, Self::Fresh));
        }
        let stamp = reply.count_at(1)?;
        let answer = match reply.int_at(0)? {
            1 => Self::Granted(Grant {
                token: reply.count_at(2)?,
                left: reply.ms_at(3, HOLD)?,
                claim: reply.int_at(4)? != 0,
                weight: reply.if_there(5, Reply::weight_at)?,
                delay: delay_at(reply, 6)?,
            }),
            2 => Self::Queued {
                wake: wake_at(reply, 2)?,
                more: reply.int_at(3)? != 0,
            },
            3 => Self::Busy {
                more: reply.int_at(3)? != 0,
            },
            4 => Self::Late,
            5 => Self::Ended,
            6 => Self::QueueFull,
            7 => Self::FloorAhead,
            8 => Self::Foreign,
            9 => Self::OtherCapacity(reply.count_at(2)?),
            10 => Self::TooLarge(reply.count_at(2)?),
            11 => Self::BaseEnded(Why::read("acquire", reply.int_at(2)?)?),
            12 => Self::TooLate(reply.us_at(2, PERMIT)?),
            13 => Self::OtherRate,
            code => return Err(unknown("acquire", code)),
        };
        Ok((stamp, answer))
    }
}

/// What an attempt had that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Had {
    Nothing,
    Hold,
    Place,
    /// Nothing: its hold was forced open.
    Forced,
    /// The record is not ours.
    Foreign,
}

/// The answer to `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct EndReply {
    pub(crate) had: Had,
    /// The step met its bound: it has to be sent again.
    pub(crate) more: bool,
    /// A message could not be published.
    pub(crate) refused: bool,
}

impl EndReply {
    pub(crate) fn read(reply: &Reply) -> Result<Self> {
        let alone = reply.alone();
        let code = alone.map_or_else(|| reply.int_at(0), Ok)?;
        let flag = |index| match alone {
            Some(_) => Ok(false),
            None => reply.int_at(index).map(|flag| flag != 0),
        };
        Ok(Self {
            had: match code {
                0 => Had::Nothing,
                1 => Had::Hold,
                2 if alone.is_none() => Had::Place,
                3 if alone.is_none() => Had::Forced,
                8 if alone.is_none() => Had::Foreign,
                code => return Err(unknown("end", code)),
            },
            more: flag(1)?,
            refused: flag(2)?,
        })
    }
}

/// Why a hold is lost, as `tick` and what takes over say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Why {
    Ended,
    /// Somebody else had it since.
    Taken,
    Forced,
}

impl Why {
    pub(crate) const fn loss(self) -> Loss {
        match self {
            Self::Ended => Loss::Vanished,
            Self::Taken => Loss::Taken,
            Self::Forced => Loss::Forced,
        }
    }

    fn read(script: &str, code: i64) -> Result<Self> {
        Ok(match code {
            1 => Self::Ended,
            2 => Self::Taken,
            3 => Self::Forced,
            code => return Err(unknown(script, code)),
        })
    }
}

/// The answer to one item of a tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum TickItem {
    Held(Duration),
    Granted(Grant),
    Queued {
        wake: Option<Duration>,
        more: bool,
    },
    /// Not in the queue.
    Gone,
    Lost(Why),
    Foreign,
    /// An error of this key alone.
    Failed,
}

impl TickItem {
    fn read(reply: &Reply) -> Result<Self> {
        Ok(match reply.int_at(0)? {
            1 => Self::Held(reply.ms_at(1, HOLD)?),
            2 => Self::Granted(Grant {
                token: reply.count_at(1)?,
                left: reply.ms_at(2, HOLD)?,
                claim: reply.int_at(3)? != 0,
                weight: None,
                delay: delay_at(reply, 4)?,
            }),
            3 => Self::Queued {
                wake: wake_at(reply, 1)?,
                more: reply.int_at(2)? != 0,
            },
            4 => Self::Gone,
            5 => Self::Lost(Why::read("tick", reply.int_at(1)?)?),
            8 => Self::Foreign,
            9 => Self::Failed,
            code => return Err(unknown("tick", code)),
        })
    }
}

/// The answer to `tick`.
#[derive(Debug)]
pub(crate) struct TickReply {
    pub(crate) stamp: u64,
    pub(crate) refused: bool,
    items: std::vec::IntoIter<Reply>,
}

impl TickReply {
    pub(crate) fn read(reply: Reply) -> Result<Self> {
        let mut items = reply.items()?.into_iter();
        let mut head = || items.next().ok_or_else(too_short)?.int();
        Ok(Self {
            stamp: Reply(redis::Value::Int(head()?)).count()?,
            refused: head()? != 0,
            items,
        })
    }

    /// The next item; one that cannot be read has failed.
    pub(crate) fn next(&mut self) -> Result<TickItem> {
        let item = self.items.next().ok_or_else(too_short)?;
        Ok(TickItem::read(&item).unwrap_or(TickItem::Failed))
    }
}

fn too_short() -> Error {
    Error::new(ErrorKind::Protocol, "the server's reply to a tick is too short")
}

/// The answer to `adopt`, `split`, `downgrade` and `steal`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum TakeOverReply {
    Done(Grant),
    /// What was to be taken over has ended.
    Ended(Why),
    Late,
    /// The new attempt has ended.
    Gone,
    /// The token floor is too far ahead of the server's clock.
    FloorAhead,
    Foreign,
}

impl TakeOverReply {
    pub(crate) fn read(reply: &Reply) -> Result<(u64, Self)> {
        let stamp = reply.count_at(1)?;
        let answer = match reply.int_at(0)? {
            1 => Self::Done(Grant {
                token: reply.count_at(2)?,
                left: reply.ms_at(3, HOLD)?,
                claim: reply.int_at(4)? != 0,
                weight: reply.count_at(5).ok().and_then(|it| u32::try_from(it).ok()),
                delay: None,
            }),
            3 => Self::Ended(Why::read("adopt", reply.int_at(2)?)?),
            4 => Self::Late,
            5 => Self::Gone,
            7 => Self::FloorAhead,
            8 => Self::Foreign,
            code => return Err(unknown("adopt", code)),
        };
        Ok((stamp, answer))
    }
}

/// The answer to `merge`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum MergeReply {
    Done,
    /// One of them has ended.
    Ended(Why),
    Late,
    Foreign,
}

impl MergeReply {
    pub(crate) fn read(reply: &Reply) -> Result<(u64, Self)> {
        let answer = match reply.int_at(0)? {
            1 => Self::Done,
            3 => Self::Ended(Why::read("merge", reply.int_at(2)?)?),
            4 => Self::Late,
            8 => Self::Foreign,
            code => return Err(unknown("merge", code)),
        };
        Ok((reply.count_at(1)?, answer))
    }
}

/// The answer to `resize`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum ResizeReply {
    Done { more: bool, refused: bool },
    Late,
    Foreign,
}

impl ResizeReply {
    pub(crate) fn read(reply: &Reply) -> Result<(u64, Self)> {
        let answer = match reply.int_at(0)? {
            1 => Self::Done {
                more: reply.int_at(2)? != 0,
                refused: reply.int_at(3)? != 0,
            },
            4 => Self::Late,
            8 => Self::Foreign,
            code => return Err(unknown("resize", code)),
        };
        Ok((reply.count_at(1)?, answer))
    }
}

/// The answer to `force`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum ForceReply {
    Nobody { more: bool, refused: bool },
    Ended { more: bool, refused: bool },
    Foreign,
}

impl ForceReply {
    pub(crate) fn read(reply: &Reply) -> Result<Self> {
        let (more, refused) = (reply.int_at(1)? != 0, reply.int_at(2)? != 0);
        Ok(match reply.int_at(0)? {
            0 => Self::Nobody { more, refused },
            1 => Self::Ended { more, refused },
            8 => Self::Foreign,
            code => return Err(unknown("force", code)),
        })
    }
}
