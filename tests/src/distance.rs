//! How far the clients of a test are from its server, and how that changes its times.

use std::time::Duration;

use latchwork_core::ClientBuilder;
use latchwork_testkit::Proxy;

tokio::task_local! {
    static HERE: Distance;
}

/// How far the clients of a test are from its server.
///
/// A test that runs [`at`](Self::at) a distance gets it in every [`Fixture`](crate::Fixture) that it
/// makes, and so do the tasks that it starts with [`go`](crate::go).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Distance {
    trip: Duration,
    /// The times of the test are longer by this factor.
    scale: u32,
    /// The time-outs of the clients are longer by this factor.
    patience: u32,
}

impl Distance {
    /// On the same machine.
    pub const NEAR: Self = Self {
        trip: Duration::ZERO,
        scale: 1,
        patience: 1,
    };

    /// At this round trip, in milliseconds. Up to half a second clients have the usual time-outs.
    pub const fn ms(trip: u64) -> Self {
        let (scale, patience) = match trip {
            0 => (1, 1),
            1..=50 => (2, 1),
            51..=500 => (4, 1),
            _ => (10, 10),
        };
        let trip = Duration::from_millis(trip);
        Self {
            trip,
            scale,
            patience,
        }
    }

    /// Runs a test, or a part of one, at this distance.
    pub async fn at<F: Future>(self, test: F) -> F::Output {
        HERE.scope(self, test).await
    }

    /// The distance at which the present test runs.
    pub fn here() -> Self {
        HERE.try_with(|here| *here).unwrap_or(Self::NEAR)
    }

    /// A round trip.
    pub const fn trip(self) -> Duration {
        self.trip
    }

    /// By how much the times of a test are longer.
    pub const fn scale(self) -> u32 {
        self.scale
    }

    /// A proxy to this port that is as far away.
    ///
    /// # Panics
    /// If there can be none.
    pub fn proxy(self, port: u16) -> Proxy {
        let proxy = Proxy::start(port).expect("a proxy");
        proxy.delay(self.trip / 2);
        proxy
    }

    /// The time-outs that a client needs at this distance.
    pub fn patient(self, builder: ClientBuilder) -> ClientBuilder {
        if self.patience == 1 {
            return builder;
        }
        let seconds = |seconds| Duration::from_secs(seconds) * self.patience;
        builder
            .operation_timeout(seconds(1))
            .unavailable_after(seconds(10))
            .heartbeat(seconds(3))
    }

    /// A time of a test.
    pub fn scaled(self, time: Duration) -> Duration {
        time * self.scale
    }

    /// By how much the time-outs of the clients are longer than usual.
    pub const fn time_outs(self) -> u32 {
        self.patience
    }
}

/// How often a test does something that takes a round trip, if it does it this often near the server.
pub fn fewer(times: usize) -> usize {
    let scale = usize::try_from(Distance::here().scale).unwrap_or(1);
    (times / scale).max(times.min(4))
}

/// A time of a test, at the distance of the present test.
pub fn scaled(time: Duration) -> Duration {
    Distance::here().scaled(time)
}

/// This time, and as much more as an answer takes at most.
pub fn answered(time: Duration) -> Duration {
    time + Distance::here().trip * 3
}

/// [`LEASE`](crate::LEASE) at this distance.
pub fn lease() -> Duration {
    scaled(crate::LEASE)
}

/// [`MEDIUM`](crate::MEDIUM) at this distance.
pub fn medium() -> Duration {
    scaled(crate::MEDIUM)
}

/// A claim window like [`long`], as far as there is one.
pub fn long_window() -> Duration {
    long().min(crate::MINUTE)
}

/// [`LONG`](crate::LONG) at this distance.
pub fn long() -> Duration {
    scaled(crate::LONG)
}
