//! The two sides of a read-write lock, as locks of their own.

use std::time::{Duration, Instant};

use latchwork_core::Name;
use latchwork_core::kit::lock_by_its_methods;

use crate::futures::{RwLockRead, RwLockWrite, TryRwLockRead, TryRwLockWrite};
use crate::rwlock::RwLock;

macro_rules! side {
    ($(#[$doc:meta])* $type:ident, $acquire:ident -> $future:ident, $try_acquire:ident, $for:ident, $until:ident -> $try_future:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone)]
        pub struct $type(pub(crate) RwLock);

        impl $type {
            /// The name.
            pub fn name(&self) -> &Name {
                self.0.name()
            }

            #[doc = concat!("See [`RwLock::", stringify!($acquire), "`].")]
            ///
            /// # Errors
            #[doc = concat!("As [`RwLock::", stringify!($acquire), "`].")]
            pub fn lock(&self) -> $future {
                self.0.$acquire()
            }

            #[doc = concat!("See [`RwLock::", stringify!($try_acquire), "`].")]
            ///
            /// # Errors
            #[doc = concat!("As [`RwLock::", stringify!($try_acquire), "`].")]
            pub fn try_lock(&self) -> $try_future {
                self.0.$try_acquire()
            }

            #[doc = concat!("See [`RwLock::", stringify!($for), "`].")]
            ///
            /// # Errors
            #[doc = concat!("As [`RwLock::", stringify!($for), "`].")]
            pub fn try_lock_for(&self, wait: Duration) -> $try_future {
                self.0.$for(wait)
            }

            #[doc = concat!("See [`RwLock::", stringify!($until), "`].")]
            ///
            /// # Errors
            #[doc = concat!("As [`RwLock::", stringify!($until), "`].")]
            pub fn try_lock_until(&self, deadline: Instant) -> $try_future {
                self.0.$until(deadline)
            }
        }

        lock_by_its_methods!($type, lock, try_lock_until);
    };
}

side!(
    /// The reading side of a [`RwLock`], for whoever takes a lock.
    ReadLock, read -> RwLockRead, try_read, try_read_for, try_read_until -> TryRwLockRead
);
side!(
    /// The writing side of a [`RwLock`], for whoever takes a lock.
    WriteLock, write -> RwLockWrite, try_write, try_write_for, try_write_until -> TryRwLockWrite
);
