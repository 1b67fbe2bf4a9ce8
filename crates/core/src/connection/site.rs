//! Where a node's connection leads, and when that changes.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;

use crate::connection::endpoint::Endpoint;
use crate::connection::source::Place;

/// Where a connection leads.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    pub(crate) place: Place,
    /// Rises with each change of the server at the other end.
    pub(crate) era: u64,
    /// Another server has taken over, and is not connected yet.
    is_left: bool,
}

impl Site {
    /// Another server has taken over, and is not connected yet.
    pub(crate) const fn is_left(&self) -> bool {
        self.is_left
    }
}

/// Where the present connection leads, or the last one led.
#[derive(Debug)]
pub(crate) struct Sites {
    site: watch::Sender<Option<Site>>,
    /// That of the site.
    era: AtomicU64,
}

impl Sites {
    pub(crate) fn new() -> Self {
        Self {
            site: watch::Sender::new(None),
            era: AtomicU64::new(0),
        }
    }

    /// The connection leads here from now on. `is_other`: as far as is known, the server is not the
    /// one that was there before, or it has restarted.
    pub(crate) fn arrive(&self, place: Place, is_other: bool) {
        self.site.send_modify(|site| {
            let era = self.era.load(Ordering::Relaxed) + u64::from(is_other);
            self.era.store(era, Ordering::Release);
            *site = Some(Site {
                place,
                era,
                is_left: false,
            });
        });
    }

    /// The connection has shown other credentials.
    pub(crate) fn renew(&self, endpoint: Endpoint) {
        self.site.send_if_modified(|site| {
            if let Some(site) = site {
                site.place.endpoint = endpoint;
            }
            false // it leads where it led
        });
    }

    /// Another server has taken over from the one here.
    pub(crate) fn leave(&self) {
        self.site.send_if_modified(|site| {
            let Some(site) = site else { return false };
            site.is_left = true;
            site.era += 1;
            self.era.store(site.era, Ordering::Release);
            true
        });
    }

    /// Returns the present era.
    pub(crate) fn era(&self) -> u64 {
        self.era.load(Ordering::Acquire)
    }

    /// Returns the site, if there ever was a connection.
    pub(crate) fn get(&self) -> Option<Site> {
        self.site.borrow().clone()
    }

    /// Resolves to the site, once there is one that was not left.
    pub(crate) async fn present(&self) -> Option<Site> {
        let mut sites = self.site.subscribe();
        let present = |site: &Option<Site>| site.as_ref().is_some_and(|site| !site.is_left);
        // The sender lives as long as we do: this cannot fail.
        let site = sites.wait_for(present).await.ok()?;
        site.clone()
    }

    /// Resolves when this era is over.
    pub(crate) async fn ends(&self, era: u64) {
        let mut sites = self.site.subscribe();
        let over = |site: &Option<Site>| site.as_ref().is_some_and(|site| site.era != era);
        // The sender lives as long as we do: this cannot fail.
        let _closed = sites.wait_for(over).await.is_err();
    }
}
