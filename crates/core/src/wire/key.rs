//! The keys that names stand for.

use std::sync::Arc;

use crate::types::name::Name;

/// Makes the name safe inside the braces of a hash tag: a brace would end the tag and move the slot (H59).
fn push_escaped(out: &mut Vec<u8>, name: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in name {
        if byte <= b' ' || matches!(byte, b'%' | b'{' | b'}' | 0x7f) {
            out.extend([b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        } else {
            out.push(byte);
        }
    }
}

/// `<prefix>:<kind>:{<name>}`
pub(crate) fn key(prefix: &str, kind: &str, name: &Name) -> Arc<[u8]> {
    let mut out = Vec::with_capacity(prefix.len() + kind.len() + name.as_bytes().len() + 4);
    out.extend(prefix.as_bytes());
    out.push(b':');
    out.extend(kind.as_bytes());
    out.extend(b":{");
    push_escaped(&mut out, name.as_bytes());
    out.push(b'}');
    out.into()
}

/// What stands before the name in a primitive's key: `<prefix>:<kind>`.
pub(crate) fn place(key: &[u8]) -> String {
    let end = key.windows(2).position(|two| two == b":{");
    let place = key.get(..end.unwrap_or_default()).unwrap_or_default();
    String::from_utf8_lossy(place).into_owned()
}

/// The kind and name that a key stands for, if it is that of a primitive.
pub(crate) fn parse(prefix: &str, key: &[u8]) -> Option<(String, Name)> {
    let rest = key.strip_prefix(prefix.as_bytes())?.strip_prefix(b":")?;
    let at = rest.windows(2).position(|two| two == b":{")?;
    let kind = std::str::from_utf8(&rest[..at]).ok()?;
    let mut bytes = rest[at + 2..].strip_suffix(b"}")?.iter().copied();
    let is_kind = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if kind == "fence" || !kind.bytes().all(is_kind) {
        return None;
    }
    let mut name = Vec::new();
    while let Some(byte) = bytes.next() {
        name.push(match byte {
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            b'{' | b'}' => return None, // not ours
            byte => byte,
        });
    }
    Some((kind.to_owned(), Name::new(&name).ok()?))
}

/// The key of a fence, in the slot of `resource`, which is a key of the user's. Three forms, so that no two resources share
/// one: `<prefix>:fence:{<resource>}`, `<prefix>:fence:=<resource>` if the resource has a hash tag of its own, and
/// `<prefix>:fence:~<escaped resource>` if no tag can carry it.
pub(crate) fn fence_key(prefix: &str, resource: &Name) -> Vec<u8> {
    let bytes = resource.as_bytes();
    let mut out = Vec::with_capacity(prefix.len() + 3 * bytes.len() + 10);
    out.extend(prefix.as_bytes());
    out.extend(b":fence:");
    match hash_tag(bytes) {
        // The first tag in the key counts, which is that of the resource.
        Some(_) => {
            out.push(b'=');
            out.extend(bytes);
        }
        // Without a tag the whole key is hashed: a tag that contains it, if it has no brace to end it early.
        None if !bytes.contains(&b'}') => {
            out.push(b'{');
            out.extend(bytes);
            out.push(b'}');
        }
        // Nothing can be in the slot of such a key. One server has no slots.
        None => {
            out.push(b'~');
            push_escaped(&mut out, bytes);
        }
    }
    out
}

fn hash_tag(key: &[u8]) -> Option<&[u8]> {
    let open = key.iter().position(|&b| b == b'{')?;
    let rest = &key[open + 1..];
    let close = rest.iter().position(|&b| b == b'}')?;
    (close > 0).then(|| &rest[..close])
}

/// The record of a client: see [`super::client`].
pub(crate) fn label_key(prefix: &str, client_id: &str) -> String {
    format!("{prefix}:client:{client_id}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(bytes: &[u8]) -> Name {
        Name::new(bytes).expect("a fine name")
    }

    #[test]
    fn h59_no_name_can_move_its_slot() {
        for bytes in [&b"{"[..], b"}x", b"{}", b"a}b{c", b"%7B", b"\0", b" "] {
            let key = key("p", "lock", &name(bytes));
            let tag = hash_tag(&key).expect("a tag");
            assert_eq!(&key[..8], b"p:lock:{", "prefix, kind");
            assert_eq!(tag.len(), key.len() - 9, "the tag is the whole name");
        }
        assert_ne!(
            key("p", "lock", &name(b"{")),
            key("p", "lock", &name(b"%7B")),
            "the escape is escaped"
        );
    }

    #[test]
    fn a_key_is_parsed_to_what_it_was_made_of() {
        for bytes in [&b"a"[..], b"{", b"}x", b"a:{b}", b"%7B", b"\0 \xff"] {
            let made = key("p:q", "rwlock", &name(bytes));
            let parsed = parse("p:q", &made).expect("a key of ours");
            assert_eq!(parsed, ("rwlock".to_owned(), name(bytes)));
            assert_eq!(parse("p", &made), None, "of another prefix");
        }
        let fence = fence_key("p", &name(b"a"));
        for other in [
            &fence[..],
            b"p:client:abc",
            b"p:lock:{a",
            b"p:lock:{%4}",
            b"p:lock:{a}b}",
            b"p",
        ] {
            assert_eq!(parse("p", other), None, "{}", String::from_utf8_lossy(other));
        }
    }

    #[test]
    fn a_fence_is_in_the_slot_of_its_resource() {
        let whole = fence_key("p", &name(b"stock"));
        assert_eq!(hash_tag(&whole), Some(&b"stock"[..]), "whole key");
        let tagged = fence_key("p", &name(b"shop:{42}:stock"));
        assert_eq!(hash_tag(&tagged), Some(&b"42"[..]), "its own tag");
    }

    #[test]
    fn bytes_that_move_a_slot_are_escaped() {
        let key = |bytes| key("p", "lock", &name(bytes)).to_vec();
        assert_eq!(key(b"a b{c}\n\x7f%!~"), b"p:lock:{a%20b%7Bc%7D%0A%7F%25!~}");
        assert_eq!(key(b"\xff\xc3"), b"p:lock:{\xff\xc3}", "not text");
        assert_eq!(label_key("p", "abc"), "p:client:abc");
    }

    #[test]
    fn a_fence_of_a_resource_with_an_odd_brace() {
        let fence = |bytes| fence_key("p", &name(bytes));
        assert_eq!(fence(b"a}b"), b"p:fence:~a%7Db", "no key can be in its slot");
        assert_eq!(fence(b"a{b"), b"p:fence:{a{b}", "the whole key is the tag");
        assert_eq!(fence(b"{}a"), b"p:fence:~%7B%7Da", "an empty tag is none");
        assert_eq!(fence(b"}{a}"), b"p:fence:=}{a}", "the first tag counts");
    }

    #[test]
    fn no_two_resources_share_a_fence() {
        let mut fences = std::collections::BTreeMap::new();
        // Every text of up to five of these.
        let letters = b"{}a=~%";
        let mut texts: Vec<Vec<u8>> = vec![Vec::new()];
        for _ in 0..5 {
            let longer = texts.iter().flat_map(|text| {
                letters
                    .iter()
                    .map(|letter| [text.as_slice(), &[*letter]].concat())
            });
            texts = longer.chain([Vec::new()]).collect();
            for text in texts.iter().filter(|text| !text.is_empty()) {
                let fence = fence_key("p", &name(text));
                let other = fences.insert(fence, text.clone());
                assert!(other.is_none_or(|other| other == *text), "{text:?}");
                let whole = hash_tag(text).unwrap_or(text);
                let carried = hash_tag(text).is_some() || !text.contains(&b'}');
                let fence = fence_key("p", &name(text));
                assert!(!carried || hash_tag(&fence) == Some(whole), "{text:?}: its slot");
            }
        }
    }
}
