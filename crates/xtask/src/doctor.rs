//! `cargo xtask doctor`: which server there is and what can be tested with it.

use latchwork_testkit::{TestServer, external_url, find_server, has_tls, servers_dir};

use crate::Failure;

pub(crate) fn run() -> Result<(), Failure> {
    if let Some(url) = external_url() {
        println!(
            "REDIS_URL   {}: the demo uses it, tests never do",
            without_password(&url)
        );
    }
    let found = find_server().map_err(Failure::NoServer)?;
    println!("server      {} ({})", found.version, found.source);
    println!("path        {}", found.path.display());
    if !found.version.is_supported() {
        println!("            too old for Latchwork, which needs 6.2 or later");
    }
    let start = |option: Option<(&str, &str)>| {
        let builder = TestServer::builder().binary(found.clone());
        option.map_or_else(
            || builder.clone().start(),
            |(name, value)| builder.clone().arg(name, value).start(),
        )
    };
    let server = start(None).map_err(|error| Failure::Other(error.to_string()))?;
    println!("starts      yes, on port {}", server.port());
    println!(
        "TLS         {}",
        yes_or(has_tls(&found), "no: this build has none")
    );
    println!(
        "cluster     {}",
        yes_or(start(Some(("--cluster-enabled", "yes"))).is_ok(), "no")
    );
    println!("fetched     {}", servers_dir().display());
    println!("            another version: cargo xtask fetch --version <name>, then REDIS_SERVER_BIN=<path>");
    Ok(())
}

fn yes_or(it_is: bool, no: &str) -> &str {
    if it_is { "yes" } else { no }
}

/// The URL with what stands between `://` and `@` hidden.
pub(crate) fn without_password(url: &str) -> String {
    let parts = url
        .split_once("://")
        .and_then(|(scheme, rest)| Some((scheme, rest.rsplit_once('@')?.1)));
    parts.map_or_else(
        || url.to_owned(),
        |(scheme, host)| format!("{scheme}://***@{host}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_printed() {
        assert_eq!(
            without_password("redis://me:s@cret@host:1/0"),
            "redis://***@host:1/0"
        );
        assert_eq!(without_password("redis://host:1"), "redis://host:1");
    }
}
