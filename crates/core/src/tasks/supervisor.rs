//! Opens the command connection, watches it, and replaces it when it fails.

use std::time::Duration;

use redis::AsyncConnectionConfig;
use redis::aio::MultiplexedConnection;

use crate::base::backoff::Backoff;
use crate::base::clock::{Moment, sleep_until, until};
use crate::base::trace::{debug, info, warn};
use crate::connection::endpoint::Endpoint;
use crate::connection::failure::Failure;
use crate::connection::handshake::{GREETING, Greeting, greet};
use crate::connection::refusal::{Target, classify};
use crate::connection::tls;
use crate::runtime::shared::Shared;
use crate::types::error::{Error, ErrorKind, Result};

/// A connection that lasted for longer is replaced at once when it fails.
pub(super) const GOOD: Duration = Duration::from_secs(1);

/// Requests that may be queued in front of the socket.
const PIPELINE: usize = 1024;

/// Connects, then greets: each within an operation timeout for each round trip that it takes.
async fn connect(
    endpoint: &Endpoint,
    shared: &Shared,
) -> Result<(MultiplexedConnection, Greeting, Moment), Failure> {
    let timeout = shared.options.operation_timeout;
    let (opening, greeting) = (timeout * endpoint.round_trips(), timeout * GREETING);
    // Time-outs are ours: redis-rs's default of 500 ms would fire in the middle of a script's run (H28).
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(opening))
        .set_response_timeout(None)
        .set_pipeline_buffer_size(PIPELINE);
    let target = Target {
        script: None,
        prefix: &shared.options.prefix,
    };
    let failed = |error| refused(error, endpoint, target);
    let silence = || Failure::unknown(silent(endpoint));
    let open = endpoint.0.get_multiplexed_async_connection_with_config(&config);
    let opened = until(Moment::now() + opening, None, open).await;
    let mut connection = opened.ok_or_else(silence)?.map_err(failed)?;
    let sent = Moment::now();
    let greet = greet(&mut connection, endpoint.address(), &shared.channel);
    let greeted = until(sent + greeting, None, greet).await;
    match greeted.ok_or_else(silence)?.map_err(failed)? {
        Ok(greeting) => Ok((connection, greeting, sent)),
        Err(error) => Err(Failure::refused(error)),
    }
}

fn silent(endpoint: &Endpoint) -> Error {
    Error::new(
        ErrorKind::Unavailable,
        format!("the server at {} does not answer", endpoint.address()),
    )
}

fn refused(error: redis::RedisError, endpoint: &Endpoint, target: Target<'_>) -> Failure {
    if error.kind() == redis::ErrorKind::AuthenticationFailed {
        let text = "the server does not accept the user name or password: check the URL's credentials";
        return Failure::refused(Error::new(ErrorKind::Denied, text).caused_by(error));
    }
    // An answer that breaks off is of a connection that was cut, which `classify` knows.
    if error.kind() == redis::ErrorKind::Parse && !error.to_string().contains("end of input") {
        let text = format!(
            "the server at {} does not speak the Redis protocol",
            endpoint.address()
        );
        return Failure::refused(Error::new(ErrorKind::Protocol, text).caused_by(error));
    }
    if error.detail().is_some_and(|detail| detail.contains("DB index")) {
        let text = "the server has no database of the number in the URL";
        return Failure::refused(Error::invalid(text).caused_by(error));
    }
    if error.kind() == redis::ErrorKind::InvalidClientConfig {
        return Failure::refused(
            Error::invalid(format!("the connection options do not work: {error}")).caused_by(error),
        );
    }
    if error.is_timeout() {
        return Failure::unknown(silent(endpoint).caused_by(error));
    }
    if endpoint.is_tls() && tls::is_about_tls(&error) {
        let text = format!("no TLS connection to {}: {error}", endpoint.address());
        return Failure::unknown(Error::new(ErrorKind::Unavailable, text));
    }
    if error.is_io_error() {
        let text = format!(
            "cannot connect to {}: is the server running there?",
            endpoint.address()
        );
        return Failure::unknown(Error::new(ErrorKind::Unavailable, text).caused_by(error));
    }
    classify(error, target)
}

/// The first connection: its failure is the caller's error, at once.
pub(crate) async fn connect_first(shared: &Shared, endpoint: &Endpoint) -> Result<()> {
    let (connection, greeting, sent) = connect(endpoint, shared).await.map_err(|failure| failure.error)?;
    shared.commands.count_load();
    shared.greeted(&greeting, sent);
    shared.commands.install(connection, 1);
    Ok(())
}

/// Watches the connection; runs until the client ends.
pub(crate) async fn supervise(shared: &Shared, endpoint: &Endpoint) -> ! {
    let commands = &shared.commands;
    let mut generation = 1;
    let mut backoff = Backoff::new(shared.options.reconnect_backoff);
    let good = shared.options.heartbeat.min(GOOD);
    let mut since = Moment::from_nanos(0); // the first connection is a good one
    let mut ends_while_idle = 0;
    loop {
        let why = watch(shared, generation).await;
        let now = Moment::now();
        let is_idle = shared.is_idle() && now.since(commands.heard()) >= shared.options.heartbeat;
        ends_while_idle = if is_idle { ends_while_idle + 1 } else { 0 };
        if ends_while_idle == 2 {
            debug!("connections end while they are idle: from now on they never are");
            shared.keep_alive();
        }
        commands.take_down(&why);
        warn!(error = %why, "the command connection is being replaced");
        generation += 1;
        if now.since(since) > good {
            backoff.reset();
        } else {
            // It was made a moment ago, as to a primary that was demoted: no storm of new ones.
            sleep_until(now + backoff.next(), None).await;
        }
        loop {
            match connect(endpoint, shared).await {
                Ok((connection, greeting, sent)) => {
                    commands.count_load();
                    shared.greeted(&greeting, sent);
                    commands.install(connection, generation);
                    shared.schedule.tick_now();
                    since = Moment::now();
                    info!(server = %greeting.info.version, "connected again");
                    break;
                }
                Err(failure) => {
                    debug!(error = %failure.error, "no connection yet");
                    commands.note_error(&failure.error);
                }
            }
            sleep_until(Moment::now() + backoff.next(), None).await;
        }
    }
}

/// Resolves when the connection of this generation should be replaced, with the reason.
async fn watch(shared: &Shared, generation: u64) -> Error {
    let commands = &shared.commands;
    loop {
        let trouble = async {
            loop {
                commands.trouble.notified().await;
                if commands.is_bad(generation) {
                    return true;
                }
                if commands.is_suspect() {
                    return false;
                }
            }
        };
        let now = Moment::now();
        let check_at = commands.heard() + shared.quiet_for();
        match until(check_at.min(now + shared.options.heartbeat), None, trouble).await {
            Some(true) => {
                let why = commands.last_error();
                let why = why.unwrap_or_else(|| "the connection failed".to_owned());
                return Error::new(ErrorKind::Unavailable, why);
            }
            // There was an answer meanwhile, or nobody needs the connection.
            None if Moment::now() < commands.heard() + shared.quiet_for() => {
                if commands.has_ended() {
                    let text = "the connection was closed";
                    return Error::new(ErrorKind::Unavailable, text);
                }
                continue;
            }
            Some(false) | None => {}
        }
        // Half-open: nobody may have asked for anything for a while (H3).
        let deadline = Moment::now() + shared.options.operation_timeout;
        if let Err(failure) = commands.ask_time(deadline).await
            && failure.unknown
        {
            return failure.error;
        }
        commands.is_suspect(); // it was this request that came after a silence
    }
}
