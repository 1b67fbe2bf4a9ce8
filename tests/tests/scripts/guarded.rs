//! What stands around a user's script behind a fence.

use latchwork_testkit::{Reply, RespClient, TestServer};
use latchwork_tests::mutants::scripts;

use crate::bench::numbers;

const FENCE: &str = "latchwork:fence:{stock}stock";

/// Runs a user's script with one key and one argument of its own.
fn run(client: &mut RespClient, token: u64, life: u64, script: &str) -> Reply {
    let all = scripts();
    let guarded = all.iter().find(|script| script.verb == "guarded").unwrap();
    let [(_, first), (_, last)] = &guarded.parts[..] else {
        panic!("{:?}", guarded.parts);
    };
    let text = [first, script, "\n", last].concat();
    let [token, life] = [token, life].map(|number| number.to_string());
    let request = ["EVAL", &text, "2", FENCE, "stock", &token, &life, "an argument"];
    client.call(&request).unwrap()
}

#[test]
fn a_script_runs_behind_the_highest_token_with_its_own_keys_and_arguments() {
    let server = TestServer::start().unwrap();
    let mut client = RespClient::connect(server.port()).unwrap();
    let text = |text: &str| Reply::Bulk(text.as_bytes().to_vec());
    let admitted = |reply| Reply::Array(vec![Reply::Int(1), reply]);
    let mine = "return { #KEYS, #ARGV, KEYS[1], ARGV[1] }";
    let expected = [Reply::Int(1), Reply::Int(1), text("stock"), text("an argument")];
    assert_eq!(
        run(&mut client, 5, 70_000, mine),
        admitted(Reply::Array(expected.to_vec()))
    );
    assert_eq!(client.call(&["GET", FENCE]).unwrap(), text("1:5"));
    let life = client.call(&["PTTL", FENCE]).unwrap().int().unwrap();
    assert!((60_000..=70_000).contains(&life), "{life} ms");

    let writes = "return redis.call('INCR', KEYS[1])";
    assert_eq!(
        run(&mut client, 5, 70_000, writes),
        admitted(Reply::Int(1)),
        "the same token"
    );
    assert_eq!(run(&mut client, 4, 70_000, writes), numbers(&[0]), "an older one");
    assert_eq!(
        client.call(&["GET", "stock"]).unwrap(),
        text("1"),
        "did not write"
    );
    let large = 1_700_000_000_000_001; // exact to the last digit
    assert_eq!(
        run(&mut client, large, 70_000, writes),
        admitted(Reply::Int(2)),
        "a newer one"
    );
    assert_eq!(client.call(&["GET", FENCE]).unwrap(), text(&format!("1:{large}")));
    let ahead = run(&mut client, 1 << 52, 70_000, writes);
    assert_eq!(ahead, numbers(&[7]), "no lock has issued it");
    client.call(&["SET", FENCE, "2:9"]).unwrap();
    assert_eq!(
        run(&mut client, large, 70_000, writes),
        numbers(&[8]),
        "another version"
    );
    assert_eq!(
        client.call(&["GET", "stock"]).unwrap(),
        text("2"),
        "did not write"
    );
}

#[test]
fn the_lowest_token_is_admitted_where_there_is_no_fence() {
    let server = TestServer::start().unwrap();
    let mut client = RespClient::connect(server.port()).unwrap();
    assert_eq!(
        run(&mut client, 0, 1000, "return 7"),
        Reply::Array(vec![Reply::Int(1), Reply::Int(7)])
    );
}
