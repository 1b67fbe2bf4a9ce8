//! The resource's side of a fencing token, for a resource that is a Redis key.

use std::time::Duration;

use crate::base::clock::{Moment, millis};
use crate::connection::failure::Failure;
use crate::tasks::client::Client;
use crate::types::error::{Error, ErrorKind, Result, foreign};
use crate::types::fence::FenceReply;
use crate::types::name::Name;
use crate::types::token::FencingToken;
use crate::wire::guarded::{GuardedReply, convert, eval_guarded};
use crate::wire::key::fence_key;
use crate::wire::reply::{AdmitReply, PipelineReply};
use crate::wire::request::{fence, fence_pipeline};
use crate::wire::value::Reply;

/// How long the highest token of a resource is remembered after its last use that was admitted: 7 days. A writer that
/// was frozen for longer than this is not caught.
pub const FENCE_MEMORY: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Commands of a pipeline.
const MOST_COMMANDS: usize = 1000;
/// Words of one of its commands.
const MOST_WORDS: usize = 1000;

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
    /// The highest token is kept in a key of its own below the client's prefix. No two resources share one, and it is in the
    /// hash slot of the resource. That cannot be done for a resource with a `}` that ends no hash tag, such as `a}`. Such
    /// a name works on one server, and is refused in a cluster.
    ///
    /// # Errors
    /// `Invalid` if it is empty or longer than 512 bytes, or in a cluster such a name.
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
        let shared = client.shared();
        let key = fence_key(&shared.options.prefix, &resource);
        if shared.route.slot(&key) != shared.route.slot(resource.as_bytes()) {
            let text = "in a cluster a fence is in the hash slot of its resource, and no key can be in the slot of one \
                 with a `}` that ends no hash tag";
            return Err(Error::invalid(text).named(&resource));
        }
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
    /// Tokens of locks follow the server's clock. One that is more than a day ahead of it, and of
    /// the highest token that was seen, is refused: it would shut out every lock's tokens for as
    /// long as it is remembered.
    ///
    /// # Errors
    /// Those of [every request](crate::ErrorKind#every-request), and `Invalid` for a token that no
    /// lock can have issued: 0, one of 2^53 or above, or one more than a day ahead. After
    /// `Unavailable` it may have been admitted; asking again is safe.
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
        self.send(token, None).await
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
        let write = (self.resource.as_bytes(), value.as_ref());
        self.send(token, Some(write)).await
    }

    /// A number that no server of ours can have issued would lock everybody out for as long as it is remembered.
    fn check(&self, token: FencingToken) -> Result<()> {
        if token.get() == 0 || token.get() >= 1 << 53 {
            let text = format!("{token} is not a fencing token: it must be above 0 and below 2^53");
            return Err(Error::invalid(text).named(&self.resource));
        }
        Ok(())
    }

    /// Keys of one script have to be in one slot of a cluster.
    fn check_slots(&self, keys: &[&[u8]]) -> Result<()> {
        let route = &self.client.shared().route;
        let own = route.slot(&self.key);
        let Some(other) = keys.iter().find(|key| route.slot(key) != own) else {
            return Ok(());
        };
        let text = format!(
            "in a cluster all keys of a guarded script must be in the hash slot of its resource, and `{}` is not: give \
             them one hash tag, such as {{{}}}",
            String::from_utf8_lossy(other),
            self.resource
        );
        Err(Error::invalid(text).named(&self.resource))
    }

    async fn send(&self, token: FencingToken, write: Option<(&[u8], &[u8])>) -> Result<bool> {
        let request = fence(&self.key, token.get(), millis(FENCE_MEMORY), write);
        let named = |error: Error| error.named(&self.resource);
        let answer = self.client.call(&request).await.map_err(named)?;
        match AdmitReply::read(&answer.reply).map_err(named)? {
            AdmitReply::Admitted(_) => Ok(true),
            AdmitReply::Stale(_) => Ok(false),
            AdmitReply::TooFarAhead => Err(named(too_far_ahead(token))),
            AdmitReply::Foreign => Err(named(foreign())),
        }
    }

    /// Runs a Lua script only if the token is admitted, in the same step. It sees `KEYS` and `ARGV` as they are given
    /// here. `None`: the token is stale, the script was not run.
    ///
    /// In a cluster all keys must be in the resource's slot. For several commands without a script, see
    /// [`pipeline`](Self::pipeline). It is sent once: after [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) it may or
    /// may not have run, or may run late, though never after a newer token was seen.
    ///
    /// # Errors
    /// As [`admit`](Self::admit). `Denied` also if a right to the script's keys is missing.
    /// `Protocol` if the script raises an error, whichever (such as one about a key of its own):
    /// then the token was admitted, and what the script wrote before is written. `Protocol` also if
    /// the script does not compile: then nothing was done, and the token was not admitted.
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
        // One send: the user's script may not bear a second run.
        let named = |error: Error| error.named(&self.resource);
        shared.check_open().map_err(named)?;
        self.check_slots(keys)?;
        let command = eval_guarded(&self.key, token.get(), millis(FENCE_MEMORY), script, keys, args);
        let deadline = Moment::now() + shared.options.operation_timeout;
        let reply = shared
            .route
            .command(&self.key, &command, deadline)
            .await
            .map_err(|failure| named(self.about_script(failure, keys)))?;
        match GuardedReply::read(reply).map_err(named)? {
            GuardedReply::Ran(returned) => Ok(Some(returned)),
            GuardedReply::Raised(text) => {
                let text = format!("the guarded script ({}) raised an error: {text}", listed(keys));
                Err(named(Error::new(ErrorKind::Protocol, text)))
            }
            GuardedReply::Stale => Ok(None),
            GuardedReply::TooFarAhead => Err(named(too_far_ahead(token))),
            GuardedReply::Foreign => Err(named(foreign())),
        }
    }

    /// Which right is missing is not known: one to a key of the script, or one to ours.
    /// Without a connection, the server has not even seen the script.
    fn about_script(&self, failure: Failure, keys: &[&[u8]]) -> Error {
        let error = failure.error;
        if error.kind() != ErrorKind::Denied || failure.passing {
            return error;
        }
        let prefix = &self.client.shared().options.prefix;
        let text = format!(
            "the server's access control denies the guarded script ({}): it needs `+eval`, rights to its own keys, and `~{prefix}:*`",
            listed(keys)
        );
        Error::new(ErrorKind::Denied, text).caused_by(error)
    }

    /// Runs commands only if the token is admitted, in the same step. Returns what each replied. `None`: the token is stale,
    /// and nothing was done.
    ///
    /// Nobody else's command comes in between, and no write of a holder with a lower token comes after. So with respect to
    /// the token it is all or nothing. A command that fails ends the pipeline: Redis undoes nothing, so the commands before
    /// it are done, and those behind it are not. The error says which one failed.
    ///
    /// A command is its name and arguments, as in `redis-cli`. The user needs the rights to the commands and their keys. At
    /// most 1000 commands, of at most 1000 words each. In a cluster all keys would have to be in the resource's slot. It is
    /// sent once: after [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) it may or may not have run, or may run
    /// late, though never after a newer token was seen.
    ///
    /// # Errors
    /// As [`admit`](Self::admit). `Invalid` also for too many commands or words, or a command without any: nothing was sent.
    /// `Protocol` if a command fails: then the token was admitted.
    ///
    /// # Cancel safety
    /// It may or may not run.
    ///
    /// # Examples
    /// ```no_run
    /// # use latchwork_core::{Fence, FencingToken};
    /// # async fn example(stock: Fence, token: FencingToken) -> latchwork_core::Result<()> {
    /// let commands: [&[&str]; 3] = [
    ///     &["SET", "stock:42", "41"],
    ///     &["RPUSH", "stock:42:log", "sold one"],
    ///     &["INCR", "stock:sold"],
    /// ];
    /// match stock.pipeline(token, commands).await? {
    ///     Some(replies) => println!("{} commands were done", replies.len()),
    ///     None => println!("a newer holder has written; nothing was done"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn pipeline<C, W>(
        &self,
        token: FencingToken,
        commands: impl IntoIterator<Item = C>,
    ) -> Result<Option<Vec<FenceReply>>>
    where
        C: IntoIterator<Item = W>,
        W: AsRef<[u8]>,
    {
        self.check(token)?;
        let named = |error: Error| error.named(&self.resource);
        let mut list = Vec::new();
        for command in commands {
            // One more than there may be is enough to see that there are too many.
            let words = command.into_iter().take(MOST_WORDS + 1);
            let words: Vec<Vec<u8>> = words.map(|word| word.as_ref().to_vec()).collect();
            if words.is_empty() || words.len() > MOST_WORDS || list.len() == MOST_COMMANDS {
                return Err(named(Error::invalid(
                    "a pipeline has at most 1000 commands, of 1 to 1000 words each",
                )));
            }
            list.push(words);
        }
        let request = fence_pipeline(&self.key, token.get(), millis(FENCE_MEMORY), &list);
        let over = Moment::now() + self.client.shared().options.operation_timeout;
        // One send: the user's commands may not bear a second run.
        let answer = self.client.call_once(&request, over).await.map_err(named)?;
        match PipelineReply::read(answer.reply).map_err(named)? {
            PipelineReply::Stale => Ok(None),
            PipelineReply::TooFarAhead => Err(named(too_far_ahead(token))),
            PipelineReply::Foreign => Err(named(foreign())),
            PipelineReply::Ran { replies, error } => {
                if let Some(error) = error {
                    let (at, count) = (replies.len(), list.len());
                    let name = list.get(at).and_then(|words| words.first());
                    let name = name.map_or_else(Default::default, |name| String::from_utf8_lossy(name));
                    let text = format!(
                        "command {} of {count} ({name}) failed, those before it are done, and those behind it are not: {error}",
                        at + 1
                    );
                    return Err(named(Error::new(ErrorKind::Protocol, text)));
                }
                let replies = replies.into_iter().map(|Reply(value)| convert(value));
                replies.collect::<Result<_>>().map(Some).map_err(named)
            }
        }
    }

    /// The highest token that was seen; `None` if none is remembered.
    ///
    /// # Errors
    /// Those of [every request](crate::ErrorKind#every-request).
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
        let request = fence(&self.key, 0, millis(FENCE_MEMORY), None);
        let answer = self.client.call(&request).await.map_err(named)?;
        match AdmitReply::read(&answer.reply).map_err(named)? {
            AdmitReply::Foreign => Err(named(foreign())),
            // What only asks is never too far ahead.
            AdmitReply::Stale(0) | AdmitReply::Admitted(0) | AdmitReply::TooFarAhead => Ok(None),
            AdmitReply::Stale(highest) | AdmitReply::Admitted(highest) => {
                Ok(Some(FencingToken::new(highest)))
            }
        }
    }
}

/// The server has refused a token as one of no lock.
fn too_far_ahead(token: FencingToken) -> Error {
    Error::invalid(format!(
        "{token} is no fencing token of a lock: it is more than a day ahead of the server's clock"
    ))
}

/// The keys of a script, for an error.
fn listed(keys: &[&[u8]]) -> String {
    let texts: Vec<_> = keys
        .iter()
        .take(8)
        .map(|key| String::from_utf8_lossy(key))
        .collect();
    match texts.as_slice() {
        [] => "without keys".to_owned(),
        texts => format!("keys: `{}`", texts.join("`, `")),
    }
}
