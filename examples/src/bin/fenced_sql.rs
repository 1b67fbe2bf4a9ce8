//! Fencing in an SQL database: one more column, and one more condition in the `UPDATE`.
//!
//! ```sql
//! ALTER TABLE accounts ADD COLUMN token BIGINT NOT NULL DEFAULT 0;
//!
//! UPDATE accounts SET balance = $2, token = $1 WHERE id = $3 AND token <= $1;
//! ```
//!
//! No row was updated: a newer holder has written. It is `<=`, not `<`: one holder may write several times. A token fits
//! a `BIGINT` until the year 2255.
//!
//! The table here is a stand-in in memory, so that the example needs no database; its `update` does what the statement
//! does. With sqlx it is `sqlx::query(UPDATE).bind(token.get() as i64).bind(balance).bind(id)`, and `rows_affected()`.

#![allow(clippy::print_stdout, reason = "an example talks")]
#![allow(
    clippy::significant_drop_tightening,
    reason = "when a guard ends is the subject"
)]

use std::collections::HashMap;
use std::sync::{Mutex as Cell, PoisonError};
use std::time::Duration;

use latchwork::{Client, FencingToken, Mutex, Renew};
use latchwork_examples::{Result, Server, unique};

const UPDATE: &str = "UPDATE accounts SET balance = $2, token = $1 WHERE id = $3 AND token <= $1";

/// `accounts (id TEXT PRIMARY KEY, balance BIGINT, token BIGINT)`
#[derive(Default)]
struct Accounts(Cell<HashMap<&'static str, (i64, u64)>>);

impl Accounts {
    fn insert(&self, id: &'static str, balance: i64) {
        let mut rows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        rows.insert(id, (balance, 0));
    }

    /// What the database does for [`UPDATE`]; returns how many rows were changed.
    fn update(&self, token: FencingToken, balance: i64, id: &str) -> u64 {
        let mut rows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match rows.get_mut(id) {
            Some(row) if row.1 <= token.get() => {
                *row = (balance, token.get());
                1
            }
            _ => 0,
        }
    }

    fn balance(&self, id: &str) -> i64 {
        let rows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        rows.get(id).map_or(0, |row| row.0)
    }
}

#[tokio::main]
async fn main() -> Result {
    let server = Server::find()?;
    let client = Client::connect(server.url()).await?;
    // Without renewal, so that the lease of a slow holder ends while we watch.
    let account = Mutex::builder(&client, unique("account-ada"))
        .lease(Duration::from_millis(300))
        .renew(Renew::Manual)
        .build()?;
    let accounts = Accounts::default();
    accounts.insert("ada", 100);
    println!("{UPDATE}\n");

    let slow = account.lock().await?;
    let seen = accounts.balance("ada");
    println!(
        "slow:  token {}, reads a balance of {seen}, and takes too long",
        slow.fencing_token()
    );

    let quick = account.lock().await?; // as soon as the slow one's lease is over
    let balance = accounts.balance("ada") - 30;
    let rows = accounts.update(quick.fencing_token(), balance, "ada");
    println!(
        "quick: token {}, writes {balance}: {rows} row changed",
        quick.fencing_token()
    );
    let rows = accounts.update(quick.fencing_token(), balance - 5, "ada");
    println!(
        "quick: the same token, writes {}: {rows} row changed",
        balance - 5
    );
    quick.unlock().await?;

    let rows = accounts.update(slow.fencing_token(), seen + 50, "ada");
    println!(
        "slow:  token {}, writes {}: {rows} rows changed, so it starts over",
        slow.fencing_token(),
        seen + 50
    );
    drop(slow);

    let guard = account.lock().await?;
    let balance = accounts.balance("ada") + 50;
    let rows = accounts.update(guard.fencing_token(), balance, "ada");
    println!(
        "slow:  token {}, writes {balance}: {rows} row changed",
        guard.fencing_token()
    );
    guard.unlock().await?;

    println!("\nthe balance is {}: 100 - 30 - 5 + 50", accounts.balance("ada"));
    if accounts.balance("ada") == 115 {
        Ok(())
    } else {
        Err("a write was lost".into())
    }
}
