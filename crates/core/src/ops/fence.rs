//! The resource's side of a fencing token, for a resource that is a Redis key.

use std::time::Duration;

use crate::base::clock::millis;
use crate::tasks::client::Client;
use crate::types::error::{Error, ErrorKind, Result};
use crate::types::fence::FenceReply;
use crate::types::name::Name;
use crate::types::token::FencingToken;
use crate::wire::guarded::eval_guarded;
use crate::wire::key::fence_key;
use crate::wire::request::{Reply, Request};
use crate::wire::script;

/// How long the highest token of a resource is remembered after its last use. A writer that was frozen for longer
/// than this is not caught.
pub const FENCE_MEMORY: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Lets a write pass only if its fencing token is the newest that was seen.
///
/// A lock alone cannot stop a holder that was paused past its lease from writing when it wakes up. The resource can:
/// it remembers the highest token and refuses lower ones. `Fence` does so for a Redis key, in one script with the write.
/// For SQL see the crate's documentation: `UPDATE … WHERE token <= $1`.
#[derive(Debug, Clone)]
pub struct Fence {
    client: Client,
    resource: Name,
    key: Vec<u8>,
}

impl Fence {
    /// Guards `resource`, which is a Redis key as it is: no prefix is added.
    ///
    /// # Errors
    /// `Invalid` if it is empty or longer than 512 bytes.
    ///
    /// # Examples
    /// ```no_run
    /// # use latchwork_core::{Client, Fence};
    /// # async fn example(client: Client) -> latchwork_core::Result<()> {
    /// let stock = Fence::new(&client, "stock:42")?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn new(client: &Client, resource: impl AsRef<[u8]>) -> Result<Self> {
        let resource = Name::new(resource.as_ref())?;
        let key = fence_key(&client.shared().options.prefix, &resource);
        Ok(Self {
            client: client.clone(),
            resource,
            key,
        })
    }

    /// The guarded key.
    pub fn resource(&self) -> &Name {
        &self.resource
    }

    /// Admits a token unless a higher one was seen, and remembers it. `false`: it is stale, write nothing.
    ///
    /// # Errors
    /// `Unavailable` (then it may have been admitted: asking again is safe), `Denied`, `WrongType`, `OutOfMemory`.
    ///
    /// # Cancel safety
    /// It may or may not be admitted; asking again is safe.
    ///
    /// # Examples
    /// ```no_run
    /// # use latchwork_core::{Fence, FencingToken};
    /// # async fn example(photos: Fence, token: FencingToken) -> latchwork_core::Result<()> {
    /// if photos.admit(token).await? {
    ///     // Write to what cannot look at a token by itself. A pause between the two is not caught.
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn admit(&self, token: FencingToken) -> Result<bool> {
        self.check(token)?;
        let request = Request::new(&script::FENCE, &[&self.key]);
        self.send(request.arg(token.get()).arg(millis(FENCE_MEMORY)))
            .await
    }

    /// Sets the guarded key, if the token is admitted, in the same step. `false`: the token is stale, nothing was written.
    ///
    /// # Errors
    /// As [`admit`](Self::admit).
    ///
    /// # Cancel safety
    /// It may or may not be written; writing again is safe.
    ///
    /// # Examples
    /// ```no_run
    /// # use latchwork_core::{Fence, FencingToken};
    /// # async fn example(stock: Fence, token: FencingToken) -> latchwork_core::Result<()> {
    /// if !stock.set(token, "41").await? {
    ///     // A newer holder has written.
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn set(&self, token: FencingToken, value: impl AsRef<[u8]>) -> Result<bool> {
        self.check(token)?;
        let request = Request::new(&script::FENCE, &[&self.key, self.resource.as_bytes()]);
        self.send(
            request
                .arg(token.get())
                .arg(millis(FENCE_MEMORY))
                .arg(value.as_ref()),
        )
        .await
    }

    /// A number that no server of ours can have issued would lock everybody out for as long as it is remembered.
    fn check(&self, token: FencingToken) -> Result<()> {
        if token.get() == 0 || token.get() >= 1 << 53 {
            let text = format!("{token} is not a fencing token: it must be above 0 and below 2^53");
            return Err(Error::invalid(text).named(&self.resource));
        }
        Ok(())
    }

    async fn send(&self, request: Request) -> Result<bool> {
        let answer = self
            .client
            .call(&request)
            .await
            .map_err(|error| error.named(&self.resource))?;
        match answer.reply.int_at(0)? {
            1 => Ok(true),
            0 => Ok(false),
            _ => Err(crate::types::error::foreign().named(&self.resource)),
        }
    }

    /// Runs a Lua script only if the token is admitted, in the same step. It sees `KEYS` and `ARGV` as they are given
    /// here. `None`: the token is stale, the script was not run.
    ///
    /// In a cluster all keys must be in the resource's slot. It is sent once: after [`ErrorKind::Unavailable`] it may or
    /// may not have run, or may run late, though never after a newer token was seen.
    ///
    /// # Errors
    /// As [`admit`](Self::admit); `Protocol` if the script raises an error: then the token was admitted, and what the
    /// script wrote before is written.
    ///
    /// # Cancel safety
    /// It may or may not run.
    ///
    /// # Examples
    /// ```no_run
    /// # use latchwork_core::{Fence, FenceReply, FencingToken};
    /// # async fn example(stock: Fence, token: FencingToken) -> latchwork_core::Result<()> {
    /// let script = "return redis.call('DECRBY', KEYS[1], ARGV[1])";
    /// match stock.eval(token, script, &[b"stock:42"], &[b"2"]).await? {
    ///     Some(FenceReply::Int(left)) => println!("{left} left"),
    ///     Some(other) => println!("unexpected: {other:?}"),
    ///     None => println!("a newer holder has written"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn eval(
        &self,
        token: FencingToken,
        script: &str,
        keys: &[&[u8]],
        args: &[&[u8]],
    ) -> Result<Option<FenceReply>> {
        self.check(token)?;
        let shared = self.client.shared();
        shared.check_open()?;
        let command = eval_guarded(&self.key, token.get(), millis(FENCE_MEMORY), script, keys, args);
        let deadline = crate::base::clock::Moment::now() + shared.options.operation_timeout;
        // One send: the user's script may not bear a second run.
        let reply = shared
            .commands
            .command(&command, deadline)
            .await
            .map_err(|failure| failure.error.named(&self.resource))?;
        let mut parts = reply.items()?.into_iter();
        let code = parts.next().map_or(Ok(8), |code| code.int())?;
        match code {
            1 => Ok(Some(
                parts
                    .next()
                    .map_or(Ok(FenceReply::Nil), Reply::into_fence)
                    .map_err(|error| error.named(&self.resource))?,
            )),
            0 => Ok(None),
            _ => Err(crate::types::error::foreign().named(&self.resource)),
        }
    }

    /// The highest token that was seen; `None` if none is remembered.
    ///
    /// # Errors
    /// `Unavailable`, `Denied`, `WrongType`.
    ///
    /// # Cancel safety
    /// Cancel safe: it changes nothing.
    ///
    /// # Examples
    /// ```no_run
    /// # use latchwork_core::{Fence};
    /// # async fn example(stock: Fence) -> latchwork_core::Result<()> {
    /// if let Some(token) = stock.highest().await? {
    ///     println!("the last writer had token {token}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn highest(&self) -> Result<Option<FencingToken>> {
        let named = |error: Error| error.named(&self.resource);
        // Token 0 is below every other and above none: it asks without changing anything.
        let request = Request::new(&script::FENCE, &[&self.key])
            .arg(0)
            .arg(millis(FENCE_MEMORY));
        let answer = self.client.call(&request).await.map_err(named)?;
        match (answer.reply.int_at(0)?, answer.reply.count_at(1)?) {
            (8, _) => Err(named(crate::types::error::foreign())),
            (_, 0) => Ok(None),
            (0 | 1, highest) => Ok(Some(FencingToken::new(highest))),
            _ => Err(named(Error::new(
                ErrorKind::Protocol,
                "an unknown answer from the fence",
            ))),
        }
    }
}
