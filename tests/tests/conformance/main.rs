//! Every primitive passes the same suite: each case here runs for each subject.
//!
//! A subject is an entry of `tests/src/subject.rs`, and each case a test of its own,
//! `<subject>::<group>::<case>`.
#![allow(clippy::significant_drop_tightening, reason = "guards are the subject")]

#[macro_use]
mod groups;

mod counting;
mod dying;
mod holding;
mod keeping;
mod losing;
mod network;
mod pausing;
mod refusing;
mod server;
mod waiting;

/// The cases of a group, which are functions of the module with its name; makes a macro of that name, which makes a
/// test of each for the `SUBJECT` around it.
macro_rules! group {
    ($group:ident: $($case:ident,)*) => {
        macro_rules! $group {
            () => {
                mod $group {
                    $(
                        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                        async fn $case() {
                            crate::$group::$case(super::SUBJECT).await;
                        }
                    )*
                }
            };
        }
    };
}

groups!(group);

/// All cases of all groups for each subject.
macro_rules! subjects {
    ($($name:ident: $subject:ident,)*) => {$(
        mod $name {
            use latchwork_tests::subject::{$subject as S, Subject};

            static SUBJECT: &dyn Subject = S;

            #[test]
            fn the_name_matches_the_subject() {
                assert_eq!(SUBJECT.name(), stringify!($name));
            }

            waiting!();
            holding!();
            keeping!();
            losing!();
            dying!();
            pausing!();
            network!();
            server!();
            refusing!();
            counting!();
        }
    )*

        /// A subject that was entered in the library alone would be tested by nobody.
        #[test]
        fn every_subject_is_tested() {
            let all: Vec<_> = latchwork_tests::subject::all().iter().map(|subject| subject.name()).collect();
            assert_eq!(all, [$(stringify!($name)),*]);
        }
    };
}

subjects! {
    mutex: MUTEX,
    fair: FAIR,
    reentrant: REENTRANT,
    read: READ,
    upgradable: UPGRADABLE,
    write: WRITE,
    semaphore: SEMAPHORE,
}
