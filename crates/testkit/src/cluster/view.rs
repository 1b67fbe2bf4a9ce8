//! What one node thinks of its cluster: the answer to `CLUSTER NODES`.

/// A node as another one, or it itself, sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Peer {
    pub(super) id: String,
    pub(super) flags: Vec<String>,
    /// The id of its master, if it is a replica.
    pub(super) master: Option<String>,
    pub(super) epoch: u64,
    pub(super) linked: bool,
    /// First and last of each range.
    pub(super) slots: Vec<(u16, u16)>,
}

impl Peer {
    pub(super) fn is(&self, flag: &str) -> bool {
        self.flags.iter().any(|of_it| of_it == flag)
    }

    pub(super) fn owns(&self, slot: u16) -> bool {
        self.slots
            .iter()
            .any(|&(first, last)| (first..=last).contains(&slot))
    }
}

/// Reads `CLUSTER NODES`. Slots that are on the move (`[7->-…]`) are their owner's.
pub(super) fn parse(text: &str) -> Vec<Peer> {
    text.lines().filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<Peer> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [id, _, flags, master, _, _, epoch, state, slots @ ..] = words.as_slice() else {
        return None;
    };
    Some(Peer {
        id: (*id).to_owned(),
        flags: flags.split(',').map(str::to_owned).collect(),
        master: (*master != "-").then(|| (*master).to_owned()),
        epoch: epoch.parse().ok()?,
        linked: *state == "connected",
        slots: slots.iter().filter_map(|range| parse_range(range)).collect(),
    })
}

fn parse_range(range: &str) -> Option<(u16, u16)> {
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    Some((first.parse().ok()?, last.parse().ok()?))
}

/// An owner's id and its ranges of slots.
pub(super) type Owned<'a> = (&'a str, &'a [(u16, u16)]);

/// Who owns what. Two nodes that agree have the same.
pub(super) fn owners(view: &[Peer]) -> Vec<Owned<'_>> {
    let mut owners: Vec<_> = view
        .iter()
        .filter(|peer| !peer.slots.is_empty())
        .map(|peer| (peer.id.as_str(), peer.slots.as_slice()))
        .collect();
    owners.sort_unstable();
    owners
}

/// How many slots are owned.
pub(super) fn count(owners: &[Owned<'_>]) -> usize {
    let ranges = owners.iter().flat_map(|(_, slots)| *slots);
    ranges
        .map(|&(first, last)| usize::from(last.saturating_sub(first)) + 1)
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_servers_of_any_version_say() {
        let text = "\
a1 127.0.0.1:7000@17000,host,shard-id=x myself,master - 0 0 3 connected 0-5 9 [7->-b2]
b2 127.0.0.1:7001@17001 slave,fail? a1 1 2 3 disconnected
";
        let view = parse(text);
        assert_eq!(view.len(), 2);
        let [a, b] = &view[..] else { panic!("{view:?}") };
        assert!(a.is("myself") && a.is("master") && a.linked && a.epoch == 3);
        assert_eq!(a.slots, [(0, 5), (9, 9)]);
        assert!(a.owns(9) && !a.owns(7));
        assert_eq!(b.master.as_deref(), Some("a1"));
        assert!(b.is("fail?") && !b.linked);
        assert_eq!(owners(&view), [("a1", &[(0, 5), (9, 9)][..])]);
        assert_eq!(count(&owners(&view)), 7);
    }
}
