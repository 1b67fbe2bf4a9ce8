//! What is more than a lock, in a cluster: fences, lists, labels, limiters, addresses.

use latchwork_limiter::{Rate, RateLimiter};
use latchwork_mutex::{Client, ErrorKind, Fence, FencingToken, Mutex};
use latchwork_testkit::{TestCluster, shared_cluster, slot_of};
use latchwork_tests::{Fixture, locked, unlocked};

use super::{fixture, masters};

/// Names on all three masters: two of each.
fn names() -> Vec<String> {
    let mut names: Vec<(u16, String)> = Vec::new();
    for number in 0.. {
        let name = format!("name{number}");
        let third = slot_of(&name) / 5462;
        if names.iter().filter(|(known, _)| *known == third).count() < 2 {
            names.push((third, name));
        }
        if names.len() == 6 {
            break;
        }
    }
    names.into_iter().map(|(_, name)| name).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_has_the_names_of_all_masters() {
    let cluster = shared_cluster();
    let client = fixture(cluster).steady().await;
    let mut expected = names();
    let mut held = Vec::new();
    for name in &expected {
        held.push(locked(&client, name).await);
    }
    let (mut found, mut next) = (Vec::new(), Some(0));
    while let Some(page) = next {
        let listing = client.list(page).await.expect("a page");
        found.extend(listing.primitives.iter().map(|it| it.name.to_string()));
        next = listing.next;
    }
    found.sort();
    found.dedup();
    expected.sort();
    assert_eq!(found, expected, "each once");
    for guard in held {
        unlocked(guard).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn labels_are_read_wherever_they_are() {
    let cluster = shared_cluster();
    let fixture = fixture(cluster);
    // Their labels are in slots of their own.
    for number in 0..6 {
        let label = format!("client {number}");
        let client = fixture.client_with(|b| b.label(&label)).await;
        let mutex = Mutex::new(&client, "a").expect("a mutex");
        let guard = mutex.lock().await.expect("granted");
        latchwork_tests::soon("the label", async {
            while mutex.inspect().await.expect("seen").holders[0].label.as_deref() != Some(&*label) {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        })
        .await;
        guard.unlock().await.expect("released");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fence_refuses_keys_of_other_slots_before_it_sends_anything() {
    let cluster = shared_cluster();
    let client = fixture(cluster).client().await;
    let token = FencingToken::new(7);
    let fence = Fence::new(&client, "{stock}:42").expect("a fence");
    assert!(fence.set(token, "1").await.expect("written"), "the newest");
    let script = "return redis.call('SET', KEYS[1], ARGV[1])";
    let near = fence.eval(token, script, &[b"{stock}:log"], &[b"x"]).await;
    assert!(near.expect("run").is_some(), "one hash tag");
    let far = fence.eval(token, script, &[b"{other}:log"], &[b"x"]).await;
    let error = far.expect_err("another slot");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert!(error.to_string().contains("hash tag"), "{error}");
    let odd = Fence::new(&client, "a}b").expect_err("no key can be in its slot");
    assert_eq!(odd.kind(), ErrorKind::Invalid, "{odd}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limiters_of_all_masters_count() {
    let cluster = shared_cluster();
    let client = fixture(cluster).client().await;
    let rate = Rate::per(std::num::NonZeroU32::MIN, std::time::Duration::from_secs(3600));
    for name in names() {
        let limiter = RateLimiter::new(&client, &name, rate).expect("a limiter");
        for allowed in [true, false] {
            let decision = limiter.try_acquire().await.expect("an answer");
            assert_eq!(decision.allowed, allowed, "{name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_node_that_lives_is_enough_to_find_the_others() {
    let cluster = shared_cluster();
    let fixture = fixture(cluster);
    let dead = latchwork_testkit::TestServer::start().expect("a server");
    let port = dead.port();
    dead.kill().expect("killed");
    let live = cluster.nodes()[4].port();
    let url = format!("redis+cluster://127.0.0.1:{port},127.0.0.1:{live}");
    let client = fixture.builder_at(&url).connect().await.expect("connected");
    assert_eq!(masters(&client), 3, "all masters");
    let urls = [
        format!("redis://127.0.0.1:{port}"),
        format!("redis://127.0.0.1:{live}/"),
    ];
    let client = Client::builder()
        .cluster(urls)
        .prefix(&fixture.prefix)
        .connect()
        .await;
    unlocked(locked(&client.expect("connected"), "a").await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_cluster_or_asks_for_a_database_is_refused() {
    let cluster = shared_cluster();
    let fixture = Fixture::shared();
    let node = cluster.nodes()[0].port();
    let one = fixture.server.port();
    let refusal = async |url: String| {
        let refused = fixture.builder_at(url).connect().await;
        refused.expect_err("refused")
    };
    let error = refusal(format!("redis+cluster://127.0.0.1:{one}")).await;
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert!(error.to_string().contains("redis://"), "what to do: {error}");
    let error = refusal(format!("redis+cluster://127.0.0.1:{node}/1")).await;
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    let error = refusal(format!("redis://127.0.0.1:{node}/1")).await;
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert!(error.to_string().contains("database"), "{error}");
}

/// Each node announces its own port, and clients get there through another one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn announced_addresses_are_mapped() {
    let cluster = TestCluster::builder(3, 0)
        .proxied(true)
        .start()
        .expect("a cluster");
    let fixture = fixture(&cluster);
    let ports: Vec<(u16, u16)> = cluster
        .nodes()
        .iter()
        .filter_map(|node| Some((node.port(), node.proxy()?.port())))
        .collect();
    let through: std::collections::HashSet<u16> = ports.iter().map(|(_, proxy)| *proxy).collect();
    let map = move |host: &str, port: u16| {
        let proxy = ports
            .iter()
            .find(|(own, _)| *own == port)
            .map(|(_, proxy)| *proxy);
        (host.to_owned(), proxy.unwrap_or(port))
    };
    let url = cluster.nodes()[0].client_url();
    let client = fixture
        .builder_at(&url)
        .address_map(map)
        .connect()
        .await
        .expect("connected");
    for name in names() {
        unlocked(locked(&client, &name).await).await;
    }
    for server in client.servers() {
        let port = server
            .address
            .rsplit_once(':')
            .expect("a port")
            .1
            .parse()
            .expect("a number");
        assert!(through.contains(&port), "{}", server.address);
    }
}
