//! Lists the primitives below a client's prefix.

use crate::base::clock::Moment;
use crate::tasks::client::Client;
use crate::types::error::{Error, ErrorKind, Result};
use crate::types::name::Name;
use crate::wire::key::parse;
use crate::wire::plain::scan;

/// The bits of a page that are the cursor of `SCAN`; those above it are the number of the node.
const CURSOR: u32 = 54;

/// A page of the primitives below a prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Listing {
    /// Those that the server has a record of: in use, or used not long ago. In no order; a page may have none.
    pub primitives: Vec<Listed>,
    /// Where the next page begins; `None`: this was the last one.
    pub next: Option<u64>,
}

/// A primitive that the server has a record of.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Listed {
    /// The kind in its key: `lock` (all mutexes), `rwlock`, `semaphore`, `latch` or `limiter`.
    pub kind: String,
    /// Its name.
    pub name: Name,
}

impl Client {
    /// Lists the primitives below this client's prefix, a page at a time: from the beginning with 0, and then with
    /// [`Listing::next`].
    ///
    /// One request a page, for which the server looks at about 1000 of its keys, whatever their prefix. What is there from
    /// the first page to the last is listed at least once, and may be listed twice. The user needs the right `+scan`.
    /// In a cluster the masters are listed one after the other. What moves to another one meanwhile may be missed.
    ///
    /// # Errors
    /// Those of [every request](crate::ErrorKind#every-request): `Unavailable` after the operation
    /// timeout.
    ///
    /// # Cancel safety
    /// Cancel safe: it changes nothing.
    ///
    /// # Examples
    /// ```no_run
    /// # use latchwork_core::Client;
    /// # async fn example(client: Client) -> latchwork_core::Result<()> {
    /// let mut next = Some(0);
    /// while let Some(page) = next {
    ///     let listing = client.list(page).await?;
    ///     for listed in &listing.primitives {
    ///         println!("{} {}", listed.kind, listed.name);
    ///     }
    ///     next = listing.next;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn list(&self, page: u64) -> Result<Listing> {
        let shared = self.shared();
        shared.check_open()?;
        let prefix = &*shared.options.prefix;
        let deadline = Moment::now() + shared.options.operation_timeout;
        let nodes = shared.route.all();
        let (number, cursor) = (page >> CURSOR, page & ((1 << CURSOR) - 1));
        let here = usize::try_from(number).ok().and_then(|number| nodes.get(number));
        let Some(node) = here else {
            return Ok(Listing {
                primitives: Vec::new(),
                next: None,
            });
        };
        let reply = node.command(&scan(prefix, cursor), deadline).await;
        let mut parts = reply.map_err(|failure| failure.error)?.items()?.into_iter();
        let mut part = || {
            let missing = || Error::new(ErrorKind::Protocol, "the answer to SCAN is too short");
            parts.next().ok_or_else(missing)
        };
        let next: u64 = String::from_utf8_lossy(&part()?.bytes()?).parse().unwrap_or(0);
        let is_last = number + 1 >= nodes.len() as u64;
        let next = match next {
            0 if is_last => None,
            0 => Some((number + 1) << CURSOR),
            next if next >> CURSOR == 0 => Some(number << CURSOR | next),
            next => {
                let text = format!("the cursor of SCAN has more than {CURSOR} bits: {next}");
                return Err(Error::new(ErrorKind::Protocol, text));
            }
        };
        let keys = part()?.items()?.into_iter().filter_map(|key| key.bytes().ok());
        let primitives = keys
            .filter_map(|key| parse(prefix, &key))
            .map(|(kind, name)| Listed { kind, name })
            .collect();
        Ok(Listing { primitives, next })
    }
}
