//! A service whose password for the server is a token that expires.
//!
//! Managed servers hand out tokens that are good for minutes. Here an "identity provider" changes
//! the password of a user every second, and the old one is refused from then on; a token is good
//! for two seconds. The client asks for the token of the moment before each connection, and at half
//! of its time, and holds its lock through six of them. Halfway, the server cuts all connections of
//! the user: who connects again needs a token that is good.

#![allow(clippy::print_stdout, reason = "an example talks")]
#![allow(clippy::disallowed_methods, reason = "the identity provider is played here")]
#![allow(clippy::significant_drop_tightening, reason = "the lock is held on purpose")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use latchwork::redis::aio::MultiplexedConnection;
use latchwork::redis::{RedisResult, cmd};
use latchwork::{Client, Credentials, Mutex};
use latchwork_examples::{Result, Server, unique};

/// How long a token is good for.
const GOOD_FOR: Duration = Duration::from_secs(2);

/// Who knows the token of the moment: in your service, the SDK of your cloud.
#[derive(Clone)]
struct Identity {
    user: String,
    token: Arc<AtomicU64>,
}

impl Identity {
    fn token(&self) -> String {
        format!("token-{}", self.token.load(Ordering::SeqCst))
    }

    /// Only the next token is accepted from now on. The user may do what the client needs, and no
    /// more.
    async fn rotate(&self, admin: &mut MultiplexedConnection) -> RedisResult<()> {
        self.token.fetch_add(1, Ordering::SeqCst);
        cmd("ACL")
            .arg("SETUSER")
            .arg(&self.user)
            .arg(&["on", "resetpass", &format!(">{}", self.token())])
            .arg(&[
                "~latchwork:*",
                "&latchwork:*",
                "-@all",
                "+@read",
                "+@write",
                "+@scripting",
                "+@pubsub",
            ])
            .arg(&["+@fast", "+info", "+config|get", "-@dangerous", "+info"])
            .exec_async(admin)
            .await
    }
}

#[tokio::main]
async fn main() -> Result {
    let server = Server::find()?;
    let mut admin = server.data().await?;
    let identity = Identity {
        user: unique("service"),
        token: Arc::default(),
    };
    identity.rotate(&mut admin).await?;

    let known = identity.clone();
    let client = Client::builder()
        .url(server.url())
        .credentials(move || {
            let (user, token) = (known.user.clone(), known.token());
            println!("the client asks: {token}");
            async move { Ok::<_, std::io::Error>(Credentials::new(user, token).good_for(GOOD_FOR)) }
        })
        .connect()
        .await?;
    let guard = Mutex::new(&client, unique("settlement"))?.lock().await?;
    println!("locked");

    for second in 1..=6 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        identity.rotate(&mut admin).await?;
        if second == 3 {
            let killed: i64 = cmd("CLIENT")
                .arg(&["KILL", "USER", &identity.user])
                .query_async(&mut admin)
                .await?;
            println!("{killed} connections were cut");
        }
        if guard.is_lost() {
            return Err("the lock should have lived through this".into());
        }
    }
    guard.unlock().await?;
    println!("released after six tokens");

    cmd("ACL")
        .arg("DELUSER")
        .arg(&identity.user)
        .exec_async(&mut admin)
        .await?;
    Ok(())
}
