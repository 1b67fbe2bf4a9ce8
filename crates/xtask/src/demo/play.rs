//! The course of events: everybody starts, one takes the lock and is killed, a survivor goes on, everybody stops.

use std::time::{Duration, Instant};

use super::crew::{Crew, News};
use super::place::Place;
use super::said::{Said, Tally};
use super::show::Show;
use super::{LEASE, Options, label};
use crate::Failure;

/// How long they work until one of them is told to stay in its critical section.
const UNTIL_HOLD: Duration = Duration::from_millis(300);
/// How long it stays there until it is killed: nobody may come in. Longer than half the claim window, so that it dies
/// with a full lease: what it was handed is confirmed by then.
const HOLD: Duration = Duration::from_millis(700);
/// A survivor has to have the lock this long after the kill.
pub(super) const RECOVERY_BOUND: Duration = LEASE.saturating_add(Duration::from_secs(1));
/// When to stop hoping for that.
const RECOVERY_LIMIT: Duration = Duration::from_secs(15);
/// A wait is reported at most this long after its end.
const REPORTED_WITHIN: Duration = Duration::from_millis(200);
/// How long a worker may take to connect, to take the lock when told to, or to stop.
const PATIENCE: Duration = Duration::from_secs(30);
/// How many violations are shown as they happen; all are counted.
const SHOWN: usize = 5;
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What came of it.
#[derive(Debug)]
pub(super) struct Played {
    /// From `go` until everybody was done.
    pub(super) elapsed: Duration,
    /// The last word of each worker; of the killed one it may be a little old.
    pub(super) tallies: Vec<Tally>,
    /// Who was killed, and when.
    pub(super) killed: Option<(usize, Instant)>,
    /// From the kill until a survivor was in its critical section.
    pub(super) recovery: Option<Duration>,
    /// The time in which nobody could work: from the hold until the recovery.
    pub(super) outage: Duration,
    /// Two in the critical section, each in words.
    pub(super) violations: Vec<String>,
    /// What went wrong otherwise.
    pub(super) troubles: Vec<String>,
    /// The longest wait for the lock, and the longest that had nothing to do with the kill.
    pub(super) longest_wait: Duration,
    pub(super) longest_undisturbed: Duration,
    /// Scripts that the server has run.
    pub(super) script_calls: Option<u64>,
}

/// Where the story is.
#[derive(Clone, Debug, PartialEq)]
enum Act {
    /// Everybody works, and nobody will be killed (any more) before the time given, if ever.
    Work(Option<Instant>),
    /// The victim was told to take the lock and stay.
    Asked(Instant),
    /// It is inside, under this mark.
    Held(String, Instant),
    /// It is dead, and nobody has had the lock since.
    Killed(String, Instant, Instant),
}

struct Play<'a> {
    crew: Crew,
    show: &'a Show,
    act: Act,
    started: Instant,
    victim: usize,
    done: Vec<bool>,
    /// When a survivor had the lock: waits that began before have to do with the kill.
    recovered: Option<Instant>,
    played: Played,
}

/// Lets them work, and one die.
pub(super) fn play(options: &Options, place: &mut Place, crew: Crew, show: &Show) -> Result<Played, Failure> {
    let mut play = Play::new(crew, show);
    play.wait_until_ready()?;
    let calls_before = place.script_calls();
    play.started = Instant::now();
    if options.lock {
        play.act = Act::Work(Some(play.started + UNTIL_HOLD));
    }
    play.crew.tell_all("go")?;
    let end = play.started + Duration::from_secs(options.seconds);
    while !play.is_over(end) {
        play.step()?;
        play.show.progress(play.started.elapsed(), play.rounds());
    }
    play.crew.tell_all("stop")?;
    play.wait_until_done()?;
    let calls = place.script_calls().zip(calls_before);
    play.played.script_calls = calls.map(|(after, before)| after.saturating_sub(before));
    Ok(play.played)
}

impl<'a> Play<'a> {
    fn new(crew: Crew, show: &'a Show) -> Self {
        let workers = crew.len();
        Self {
            crew,
            show,
            act: Act::Work(None),
            started: Instant::now(),
            victim: workers - 1,
            done: vec![false; workers],
            recovered: None,
            played: Played {
                elapsed: Duration::ZERO,
                tallies: vec![Tally::default(); workers],
                killed: None,
                recovery: None,
                outage: Duration::ZERO,
                violations: Vec::new(),
                troubles: Vec::new(),
                longest_wait: Duration::ZERO,
                longest_undisturbed: Duration::ZERO,
                script_calls: None,
            },
        }
    }

    fn rounds(&self) -> u64 {
        self.played.tallies.iter().map(|tally| tally.rounds).sum()
    }

    fn wait_until_ready(&mut self) -> Result<(), Failure> {
        let deadline = Instant::now() + PATIENCE;
        let mut ready = 0;
        while ready < self.done.len() {
            match self.crew.next(LOOK_EVERY) {
                Some(News {
                    said: Some(Said::Ready),
                    ..
                }) => ready += 1,
                Some(news) => self.note(news)?,
                None => in_time(deadline, "the workers do not get ready")?,
            }
        }
        Ok(())
    }

    /// Until the time is over, and the kill with all that follows from it.
    fn is_over(&self, end: Instant) -> bool {
        match &self.act {
            Act::Work(None) => Instant::now() >= end,
            Act::Killed(_, _, at) => Instant::now() >= (*at + RECOVERY_LIMIT).max(end),
            Act::Work(Some(_)) | Act::Asked(_) | Act::Held(..) => false,
        }
    }

    /// One look at what is due, and at what was said.
    fn step(&mut self) -> Result<(), Failure> {
        match &self.act {
            Act::Work(Some(due)) if Instant::now() >= *due => {
                self.crew.tell(self.victim, "hold")?;
                self.act = Act::Asked(Instant::now() + PATIENCE);
            }
            Act::Asked(deadline) => in_time(*deadline, "the victim does not get the lock")?,
            Act::Held(mark, since) if since.elapsed() >= HOLD => {
                let (mark, since) = (mark.clone(), *since);
                let at = self.crew.kill(self.victim)?;
                self.done[self.victim] = true;
                self.played.killed = Some((self.victim, at));
                self.act = Act::Killed(mark, since, at);
                let victim = label(self.victim);
                self.show.event(&format!("{victim} killed while it holds"));
            }
            _ => {}
        }
        if let Some(news) = self.crew.next(LOOK_EVERY) {
            self.note(news)?;
        }
        Ok(())
    }

    fn wait_until_done(&mut self) -> Result<(), Failure> {
        let deadline = Instant::now() + PATIENCE;
        while !self.done.iter().all(|done| *done) {
            match self.crew.next(LOOK_EVERY) {
                Some(news) => self.note(news)?,
                None => in_time(deadline, "the workers do not stop")?,
            }
        }
        Ok(())
    }

    fn note(&mut self, news: News) -> Result<(), Failure> {
        let who = label(news.index);
        match news.said {
            Some(Said::Progress(tally)) => self.count(news.index, tally, news.at),
            Some(Said::Done(tally)) => {
                self.count(news.index, tally, news.at);
                self.done[news.index] = true;
                self.played.elapsed = news.at.duration_since(self.started);
            }
            Some(Said::Holding(mark)) => {
                self.show.event(&format!("{who} holds the lock and stays inside"));
                self.act = Act::Held(mark, news.at);
            }
            Some(Said::Met(other)) => self.met(&who, &other, news.at),
            Some(Said::Trouble(text)) => {
                self.show.event(&format!("{who}: {text}"));
                self.played.troubles.push(format!("{who}: {text}"));
            }
            Some(Said::Ready) => {}
            None if self.done[news.index] => {}
            None => return Err(Failure::Other(format!("{who} has ended early"))),
        }
        Ok(())
    }

    /// A mark was found in the critical section. That of the dead is how the first survivor knows that it is the first.
    fn met(&mut self, who: &str, other: &str, at: Instant) {
        match &self.act {
            Act::Killed(mark, held, killed) if mark == other && at >= *killed => {
                let recovery = at.duration_since(*killed);
                self.played.recovery = Some(recovery);
                self.played.outage = at.duration_since(*held);
                self.recovered = Some(at);
                self.act = Act::Work(None);
                let millis = recovery.as_millis();
                self.show
                    .event(&format!("{who} has the lock, {millis} ms after the kill"));
            }
            _ => {
                let text = format!("{who} met {other} in the critical section");
                if self.played.violations.len() < SHOWN {
                    self.show.event(&text);
                }
                self.played.violations.push(text);
            }
        }
    }

    fn count(&mut self, index: usize, tally: Tally, at: Instant) {
        let played = &mut self.played;
        played.tallies[index] = tally;
        played.longest_wait = played.longest_wait.max(tally.wait);
        let outage = matches!(self.act, Act::Held(..) | Act::Killed(..));
        let after = |recovered| at > recovered + tally.wait + REPORTED_WITHIN;
        if !outage && self.recovered.is_none_or(after) {
            played.longest_undisturbed = played.longest_undisturbed.max(tally.wait);
        }
    }
}

fn in_time(deadline: Instant, otherwise: &str) -> Result<(), Failure> {
    if Instant::now() < deadline {
        Ok(())
    } else {
        Err(Failure::Other(format!("{otherwise} within {PATIENCE:?}")))
    }
}
