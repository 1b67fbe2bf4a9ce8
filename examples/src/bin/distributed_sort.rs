//! Worker processes sort pieces of a long list; when the last piece is done, the pieces are merged.
//!
//! Two things keep them in step. A semaphore lets only so many sort at once: sorting takes memory, and the machine has so
//! much. And a countdown latch, made with the number of pieces, holds back the merge until every worker has counted it down: a
//! worker does so *after* its sorted piece is written, so whoever passes the latch finds all of them.
//!
//! The merge is checked against the list as the standard library sorts it. And a number in Redis, which knows nothing of the
//! semaphore, is increased while a worker sorts: so each sees how many do.

#![allow(clippy::print_stdout, reason = "an example talks")]
#![allow(
    clippy::significant_drop_tightening,
    reason = "when a permit ends is the subject"
)]

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::env;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use latchwork::redis::AsyncTypedCommands;
use latchwork::redis::aio::MultiplexedConnection;
use latchwork::{Client, CountdownLatch, Semaphore};
use latchwork_examples::{Crew, KEEP, Result, Server, ready, report, start_signal, unique};

const NUMBERS: usize = 200_000;
const PIECES: u32 = 8;
const AT_ONCE: u32 = 3;

#[tokio::main]
async fn main() -> Result {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.as_slice() {
        [name, piece] => worker(name, piece).await,
        _ => sort().await,
    }
}

fn raw_key(name: &str, piece: &str) -> String {
    format!("{name}:raw:{piece}")
}

fn sorting_key(name: &str) -> String {
    format!("{name}:sorting")
}

fn sorted_key(name: &str, piece: &str) -> String {
    format!("{name}:sorted:{piece}")
}

/// Sorts one piece.
async fn worker(name: &str, piece: &str) -> Result {
    let server = Server::find()?;
    let client = Client::connect(server.url()).await?;
    let permits = Semaphore::new(&client, name, AT_ONCE)?;
    let latch = CountdownLatch::new(&client, name, PIECES)?;
    let mut data = server.data().await?;
    ready();
    start_signal().await?;

    let start = Instant::now();
    let permit = permits.acquire().await?;
    let waited = start.elapsed();

    let sorting = data.incr(sorting_key(name), 1).await?;
    let mut numbers = load(&mut data, &raw_key(name, piece)).await?;
    numbers.sort_unstable();
    store(&mut data, &sorted_key(name, piece), &numbers).await?;
    let sorted = start.elapsed();
    data.decr(sorting_key(name), 1).await?;

    permit.release().await?;
    // Not before the piece is written, and by the name of the piece: if this worker were started again, it would count once.
    latch.count_down_once(piece).await?;
    report([waited.as_millis(), sorted.as_millis(), u128::try_from(sorting)?]);
    client.close().await;
    Ok(())
}

/// Numbers are kept as text: it can be looked at with `redis-cli`.
async fn store(data: &mut MultiplexedConnection, key: &str, numbers: &[u32]) -> Result {
    let words: Vec<String> = numbers.iter().map(u32::to_string).collect();
    Ok(data.set_ex(key, words.join(" "), KEEP).await?)
}

async fn load(data: &mut MultiplexedConnection, key: &str) -> Result<Vec<u32>> {
    let text = data.get(key).await?.ok_or("a piece is missing")?;
    let numbers: std::result::Result<_, _> = text.split(' ').map(str::parse).collect();
    Ok(numbers?)
}

/// Deals out the list, starts the workers, and merges what they sorted.
async fn sort() -> Result {
    let server = Server::find()?;
    let client = Client::connect(server.url()).await?;
    let name = unique("sort");
    let mut data = server.data().await?;

    let random = RandomState::new();
    let mut list: Vec<u32> = (0..NUMBERS).map(|index| short(random.hash_one(index))).collect();
    data.set_ex(sorting_key(&name), 0, KEEP).await?;
    let mut crew = Crew::new(&server);
    let mut pieces = Vec::new();
    for (number, numbers) in list
        .chunks(NUMBERS.div_ceil(usize::try_from(PIECES)?))
        .enumerate()
    {
        let piece = number.to_string();
        store(&mut data, &raw_key(&name, &piece), numbers).await?;
        crew.hire([&name, &piece])?;
        pieces.push(piece);
    }
    println!("{NUMBERS} numbers in {PIECES} pieces, a process for each, {AT_ONCE} sort at once\n");

    crew.start().await?;
    let start = Instant::now();
    let latch = CountdownLatch::new(&client, &name, PIECES)?;
    let all_done = latch.try_wait_for(Duration::from_secs(30)).await?;
    let sorted_in = start.elapsed();
    if !all_done {
        return Err(format!("{} pieces are still missing", latch.count().await?).into());
    }
    let mut sorted = Vec::new();
    for piece in &pieces {
        sorted.push(load(&mut data, &sorted_key(&name, piece)).await?);
    }
    let merged = merge(&sorted);
    let merged_in = start.elapsed();

    println!("piece   waited   done after");
    let mut most_at_once = 0;
    for (number, [waited, done, at_once]) in crew.reports().await?.into_iter().enumerate() {
        most_at_once = at_once.max(most_at_once);
        println!("{number:>5} {waited:>5} ms {done:>9} ms");
    }
    println!(
        "\nthe latch opened after {} ms, the list was merged after {} ms",
        sorted_in.as_millis(),
        merged_in.as_millis()
    );

    if most_at_once > u64::from(AT_ONCE) {
        return Err(format!("{most_at_once} sorted at once").into());
    }
    list.sort_unstable();
    if merged != list {
        return Err("the result is not the sorted list".into());
    }
    println!(
        "{} numbers are in order, and none is missing; {most_at_once} sorted at once at most",
        merged.len()
    );
    client.close().await;
    Ok(())
}

/// The upper half of a hash.
fn short(hash: u64) -> u32 {
    u32::try_from(hash >> 32).unwrap_or(u32::MAX)
}

/// Merges sorted pieces: always the least of their first numbers.
fn merge(pieces: &[Vec<u32>]) -> Vec<u32> {
    let mut rest: Vec<_> = pieces.iter().map(|piece| piece.iter().copied()).collect();
    let mut heap = BinaryHeap::new();
    for (index, piece) in rest.iter_mut().enumerate() {
        heap.extend(piece.next().map(|first| Reverse((first, index))));
    }
    let mut merged = Vec::with_capacity(NUMBERS);
    while let Some(Reverse((least, index))) = heap.pop() {
        merged.push(least);
        heap.extend(rest[index].next().map(|next| Reverse((next, index))));
    }
    merged
}
