//! What differs between a run with shortcuts and one without, and what of it nobody can tell from outside.

use latchwork_testkit::Reply;

use crate::bench::{Script, numbers, whole};
use crate::compare::same;
use crate::histories::{Members, Ran, Request, Run};

/// What a run came to, with a reply in full.
fn in_full((script, _, args): &Request, now_us: i64, run: &Run) -> Run {
    let reply = whole(*script, args, run.reply.clone());
    let reply = match (script, reply.int()) {
        (Script::Latch, Some(left)) => {
            let token = run.members.iter().find(|(member, _)| member == "t1");
            #[allow(clippy::cast_possible_truncation, reason = "it is whole")]
            let generation = token.map_or(0, |(_, score)| *score as i64);
            numbers(&[1, now_us, generation, left, 0, 0])
        }
        _ => reply,
    };
    Run { reply, ..run.clone() }
}

/// Says what differs. What may differ stands in `excused`.
pub(crate) fn compare(request: &Request, now_us: i64, before: &Members, ran: &Ran) -> Result<(), String> {
    let of = |run: &Run| excused(request, now_us, ran.settled.is_some(), run);
    let other = ran.other.as_ref().expect("the same without shortcuts");
    let [with, without] = [&ran.one, other].map(of);
    if !excused_reply(request, now_us, before, &with.reply, &without.reply) {
        same("the reply", &with.reply, &without.reply)?;
    }
    // What is over is left to the next call that settles. So that is done first, if there was anything.
    let settled = ran.settled.as_ref().map(|both| both.each_ref().map(of));
    let [mut with, without] = settled.unwrap_or([with, without]);
    // One who was told when the claim before it ends, and is granted when what is over is settled.
    let mail = with.mail.clone();
    with.mail.retain(|line| !is_outdated(line, &mail));
    for ((member, score), (_, other)) in with.members.iter_mut().zip(&without.members) {
        // The half says that a count-down has to look whether somebody waits. One look too many finds
        // nobody.
        if member.starts_with("n1:") && (*score - other - 0.5).abs() < 0.01 {
            *score = *other;
        }
    }
    same("the record", &with.members, &without.members)?;
    same("the messages", &with.mail, &without.mail)?;
    // A look at a latch does not prolong its life.
    if request.0 == Script::Latch
        && request.2[6] == "0"
        && request.2[2].as_str() <= "0"
        && with.life < without.life
    {
        return Ok(());
    }
    same("the life", &with.life, &without.life)
}

/// Whether a grant in this mail makes the line, which only says when to look again, say nothing new.
fn is_outdated(line: &str, mail: &[String]) -> bool {
    let Some((channel, rest)) = line.split_once(" w ") else {
        return false;
    };
    let who = rest.split(' ').next().unwrap_or_default();
    mail.iter()
        .any(|other| other.starts_with(&format!("{channel} g {who} ")))
}

fn score_of(members: &Members, member: &str) -> Option<f64> {
    let found = members.iter().find(|(name, _)| name == member);
    found.map(|(_, score)| *score)
}

/// Whether a hold would outlast its own lease: it was made before the clock was set back.
#[allow(clippy::cast_precision_loss, reason = "far below 2^53")]
fn outlasts(before: &Members, now_us: i64) -> bool {
    let now = now_us.div_euclid(1000) as f64;
    before.iter().any(|(id, score)| {
        let lease = id.rsplit(':').nth(1).and_then(|lease| lease.parse::<f64>().ok());
        (1e12..1e14).contains(score) && lease.is_some_and(|lease| score - now > lease)
    })
}

/// A reply that differs, of which both are true.
fn excused_reply(
    (script, _, args): &Request,
    now_us: i64,
    before: &Members,
    with: &Reply,
    without: &Reply,
) -> bool {
    let codes = [with, without].map(|reply| reply.items().first().and_then(Reply::int));
    match (script, codes) {
        // It had a hold whose time is over, or a tombstone, and nobody has looked at the record since:
        // so nobody had it in between. An earlier hold of the same attempt may have been forced
        // open.
        (Script::End, [Some(1), Some(0 | 3)] | [Some(0 | 3), Some(1)]) => {
            #[allow(clippy::cast_precision_loss, reason = "far below 2^53")]
            let now = now_us.div_euclid(1000) as f64;
            score_of(before, &args[0]).is_some_and(|score| score >= 1e14 || (0.0..=now).contains(&score))
        }
        // A hold that outlasts its lease is cut by the first tick of who waits, which says when to look again.
        (Script::Acquire, [Some(2), Some(2)]) => outlasts(before, now_us),
        // It comes late, or has ended, but asks for no change, and nothing was changed: what it is told is
        // what there is.
        (Script::Latch, [Some(1 | 3), Some(4 | 5)]) => args[6] == "0",
        _ => false,
    }
}

/// What a run came to, without what nobody can tell from outside.
fn excused(request: &Request, now_us: i64, was_over: bool, run: &Run) -> Run {
    let mut run = in_full(request, now_us, run);
    let (script, _, args) = request;
    #[allow(clippy::cast_precision_loss, reason = "far below 2^53")]
    let now = now_us.div_euclid(1000) as f64;
    if *script == Script::End && args.get(3).is_some_and(|until| until == "0") {
        // Nothing of this attempt is under way, says the client: then it does not matter whether its
        // tombstone stands.
        run.members.retain(|(id, score)| *id != args[0] || *score < 1e14);
    }
    if *script == Script::End {
        // The mark that its hold was forced is removed with a later hold, unless that is found to
        // be over.
        let mark = format!("f{}", args[0]);
        run.members.retain(|(member, _)| *member != mark);
    }
    if *script == Script::Tick
        && let Reply::Array(items) = &mut run.reply
    {
        // After a backward step of the clock a hold may outlast its lease. A client counts no more than it
        // asked for (H49).
        for (item, asked) in items[2..].iter_mut().zip(args.chunks(6)) {
            if let Reply::Array(item) = item
                && let [Reply::Int(1), Reply::Int(left)] | [Reply::Int(2), _, Reply::Int(left), ..] =
                    item.as_mut_slice()
            {
                *left = (*left).min(asked[3].parse().unwrap());
            }
        }
    }
    if was_over {
        // Such a hold is cut when one looks at the last hold to end, or when somebody has to wait for it.
        for (id, score) in run
            .members
            .iter_mut()
            .filter(|(_, score)| (1e12..1e14).contains(score))
        {
            let lease = id.rsplit(':').nth(1).unwrap().parse::<f64>().unwrap();
            *score = score.min(now + lease + score.fract());
        }
        run.members
            .sort_by(|(a, one), (b, other)| one.total_cmp(other).then_with(|| a.cmp(b)));
        // What is over is not handed on yet: then nothing was refused either.
        let refused = match script {
            Script::End => 2,
            _ => 1,
        };
        if matches!(script, Script::End | Script::Tick)
            && let Reply::Array(items) = &mut run.reply
            && items.len() > refused
        {
            items[refused] = Reply::Int(0);
        }
    }
    run
}
