//! Opens the connection of a node, watches it, and replaces it when it fails.

use std::convert::Infallible;
use std::time::Duration;

use redis::aio::MultiplexedConnection;

use crate::base::backoff::Backoff;
use crate::base::clock::{Moment, sleep_until, until};
use crate::base::trace::{debug, info, warn};
use crate::connection::endpoint::Endpoint;
use crate::connection::failure::Failure;
use crate::connection::handshake::{GREETING, Greeting, greet};
use crate::connection::node::{GOOD, Node, SWITCHED};
use crate::connection::opening::{open, refused, silent};
use crate::connection::refusal::Target;
use crate::connection::source::{Place, Source};
use crate::runtime::shared::Shared;
use crate::types::error::{Error, ErrorKind};
use crate::types::server::Warning;

/// The pauses between two tries to renew credentials.
pub(super) const RENEWING: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(60));

/// Connects, then greets: each within an operation timeout for each round trip that it takes.
async fn connect(
    endpoint: &Endpoint,
    shared: &Shared,
) -> Result<(MultiplexedConnection, Greeting, Moment), Failure> {
    let timeout = shared.options.operation_timeout;
    let greeting = timeout * GREETING;
    let target = Target {
        script: None,
        prefix: &shared.options.prefix,
    };
    let mut connection = open(endpoint, target, timeout).await?;
    let sent = Moment::now();
    let greet = greet(&mut connection, endpoint.address(), &shared.channel);
    match until(sent + greeting, None, greet).await {
        Some(Ok(Ok(greeting))) => Ok((connection, greeting, sent)),
        Some(Ok(Err(error))) => Err(Failure::refused(error)),
        Some(Err(error)) => Err(refused(error, endpoint, target, timeout).await),
        None => Err(silent(endpoint, timeout).await),
    }
}

/// A connection that was greeted, and is not installed yet.
pub(super) struct Met {
    pub(super) place: Place,
    pub(super) connection: MultiplexedConnection,
    pub(super) greeting: Greeting,
    sent: Moment,
    /// The switches that were known when the server was looked for.
    switches: u64,
}

/// Finds the server, connects to it and greets it.
pub(super) async fn meet(shared: &Shared, node: &Node, source: &mut Source) -> Result<Met, Failure> {
    let switches = node.switches();
    let place = source
        .find(&shared.options.prefix, shared.options.operation_timeout)
        .await?;
    let connected = connect(&place.endpoint, shared).await;
    if let Err(failure) = &connected
        && failure.error.kind() == ErrorKind::Denied
    {
        place.endpoint.discard_credentials().await;
    }
    let (connection, greeting, sent) = connected?;
    Ok(Met {
        place,
        connection,
        greeting,
        sent,
        switches,
    })
}

/// Finds the server, connects to it and installs the connection.
async fn reach(
    shared: &Shared,
    node: &Node,
    source: &mut Source,
    generation: u64,
) -> Result<Greeting, Failure> {
    let met = meet(shared, node, source).await?;
    install(shared, node, source, (met, generation))
}

/// Installs a connection, if it leads to a server that may be used.
pub(super) fn install(
    shared: &Shared,
    node: &Node,
    source: &Source,
    (met, generation): (Met, u64),
) -> Result<Greeting, Failure> {
    let Met {
        place,
        connection,
        greeting,
        sent,
        switches,
    } = met;
    let address = place.endpoint.address();
    if shared.route.cluster().is_some() {
        if greeting.is_replica() {
            node.worry(); // another one has its slots
            let text = format!("the node of the cluster at {address} is a replica");
            return Err(Failure::passing(Error::new(ErrorKind::ReadOnly, text)));
        }
    } else if greeting.is_cluster {
        let text =
            format!("the server at {address} is a node of a cluster, which it was not before: connect again");
        return Err(Failure::passing(Error::new(ErrorKind::Unsupported, text)));
    }
    if source.names_primaries() {
        node.may_be_left();
        if greeting.is_replica() {
            let text =
                format!("the server at {address} is a replica, though the sentinels call it the primary");
            return Err(Failure::passing(Error::new(ErrorKind::ReadOnly, text)));
        }
        if !greeting.has_min_replicas {
            shared.warn_once(&Warning::NoMinReplicas);
        }
    }
    // The answer of the sentinels may be an old one by now, however long the handshake took.
    if node.switches() != switches {
        return Err(Failure::passing(Error::new(ErrorKind::Unavailable, SWITCHED)));
    }
    shared.greeted(node, place, &greeting, sent);
    node.install(connection, generation);
    if node.switches() != switches {
        node.leave(); // in this very moment: it is replaced as any other
    }
    Ok(greeting)
}

/// Makes the connection of a node, and watches it; runs until the client ends.
pub(super) async fn supervise_new(shared: &Shared, node: &Node, mut source: Source) -> ! {
    let mut backoff = Backoff::new(shared.options.reconnect_backoff);
    let mut news = News::default();
    connect_again(shared, node, (&mut source, 1), &mut backoff, &mut news).await;
    supervise(shared, node, source).await
}

/// Watches the connection of a node, which has one; runs until the client ends.
pub(super) async fn supervise(shared: &Shared, node: &Node, mut source: Source) -> ! {
    let mut generation = 1;
    let mut backoff = Backoff::new(shared.options.reconnect_backoff);
    let mut news = News::default();
    let good = shared.options.heartbeat.min(GOOD);
    let mut since = Moment::from_nanos(0); // the first connection is a good one
    let mut ends_while_idle = 0;
    loop {
        let why = tokio::select! {
            why = watch(shared, node, generation) => why,
            never = keep_credentials(shared, node) => never,
        };
        let now = Moment::now();
        let is_idle = shared.is_idle() && now.since(node.heard()) >= shared.options.heartbeat;
        ends_while_idle = if is_idle { ends_while_idle + 1 } else { 0 };
        if ends_while_idle == 2 {
            debug!("connections end while they are idle: from now on they never are");
            shared.keep_alive();
        }
        let lasted = now.since(since) > good;
        node.take_down(why.as_ref(), lasted);
        generation += 1;
        if lasted {
            backoff.reset();
            news = News::default();
        }
        if let Some(why) = node.outage().cause()
            && news.is_news(&why)
        {
            warn!(error = %why, "the command connection is being replaced");
        }
        if !lasted {
            // It was made a moment ago, as to a primary that was demoted: no storm of new ones.
            sleep_until(now + backoff.next(), None).await;
        }
        connect_again(shared, node, (&mut source, generation), &mut backoff, &mut news).await;
        since = Moment::now();
    }
}

/// Tries until there is a connection.
async fn connect_again(
    shared: &Shared,
    node: &Node,
    (source, generation): (&mut Source, u64),
    backoff: &mut Backoff,
    news: &mut News,
) {
    loop {
        let reached = tokio::select! {
            reached = reach(shared, node, source, generation) => reached,
            // The server that is being connected to may be the one before.
            () = node.news.notified() => continue,
        };
        match reached {
            Ok(greeting) => {
                shared.schedule.tick_now();
                info!(server = %greeting.info.version, "connected again");
                return;
            }
            Err(failure) => {
                node.outage().note(&failure.error);
                debug!(error = %failure.error, "no connection yet");
                if news.is_news(&failure.error) {
                    warn!(error = ?failure.error, "cannot connect again yet");
                }
            }
        }
        // Where there is news of another primary, that one may be reached.
        let pause = Moment::now() + backoff.next();
        until(pause, None, node.news.notified()).await;
    }
}

/// The last cause that was logged as a warning: each change of cause is one.
#[derive(Default)]
struct News(String);

impl News {
    fn is_news(&mut self, error: &Error) -> bool {
        let text = error.to_string();
        let news = self.0 != text;
        self.0 = text;
        news
    }
}

/// Shows other credentials to the server at half of the time that those of the connection are good
/// for. What fails is tried again, and changes nothing for the connection.
async fn keep_credentials(shared: &Shared, node: &Node) -> ! {
    let mut backoff = Backoff::new(RENEWING);
    loop {
        let present = node.sites().get().map(|site| site.place.endpoint);
        let Some(present) = present.filter(|present| present.renew_at() < Moment::NEVER) else {
            match std::future::pending::<Infallible>().await {}
        };
        sleep_until(present.renew_at(), None).await;
        let error = match present.renewed().await {
            Ok(fresh) => match node.authenticate(&fresh, shared.options.operation_timeout).await {
                Ok(()) => {
                    node.sites().renew(fresh);
                    backoff.reset();
                    continue;
                }
                Err(failure) => {
                    fresh.discard_credentials().await;
                    failure.error
                }
            },
            Err(error) => error,
        };
        warn!(error = %error, "the credentials of the command connection cannot be renewed yet");
        sleep_until(Moment::now() + backoff.next(), None).await;
    }
}

/// Resolves when the connection of this generation should be replaced, with the reason if it is not a
/// request that has found it.
async fn watch(shared: &Shared, node: &Node, generation: u64) -> Option<Error> {
    loop {
        let trouble = async {
            loop {
                node.trouble.notified().await;
                if node.is_bad(generation) {
                    return true;
                }
                if node.is_suspect() {
                    return false;
                }
            }
        };
        let now = Moment::now();
        let check_at = node.heard() + shared.quiet_for();
        match until(check_at.min(now + shared.options.heartbeat), None, trouble).await {
            Some(true) => return None,
            // There was an answer meanwhile, or nobody needs the connection.
            None if Moment::now() < node.heard() + shared.quiet_for() => {
                if node.has_ended() {
                    let text = "the connection was closed";
                    return Some(Error::new(ErrorKind::Unavailable, text));
                }
                continue;
            }
            Some(false) | None => {}
        }
        if node.silence(Moment::now()) > Duration::ZERO {
            node.worry(); // it may have been replaced, however long the check takes
        }
        // Half-open: nobody may have asked for anything for a while (H3).
        let deadline = Moment::now() + shared.options.operation_timeout;
        let reported = async {
            while !node.is_bad(generation) {
                node.trouble.notified().await;
            }
        };
        tokio::select! {
            answer = node.ask_time(deadline) => match answer {
                Err(failure) if failure.unknown => return Some(failure.error),
                _ => {}
            },
            () = reported => return None,
        }
        node.is_suspect(); // it was this request that came after a silence
    }
}
