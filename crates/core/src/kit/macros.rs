//! The macros that make the types of primitives. `#[macro_export]` puts them at the root: they are hidden there.

/// Makes a struct with the field `guard: Guard` the guard type of a primitive: it derefs to its [`Hold`](crate::Hold), and
/// has the methods that all guards have. `$release` is what its release is called, `$path` its name for the examples.
#[doc(hidden)]
#[macro_export]
macro_rules! guard_type {
    ($type:ident, $path:literal, $release:ident) => {
        impl $crate::kit::Shell for $type {
            fn from_guard(guard: $crate::kit::Guard) -> Self {
                Self { guard }
            }

            fn guard(&self) -> &$crate::kit::Guard {
                &self.guard
            }

            fn into_guard(self) -> $crate::kit::Guard {
                self.guard
            }
        }

        /// The hold that it stands for: how long it is valid, whether and why it was lost.
        impl std::ops::Deref for $type {
            type Target = $crate::Hold;

            fn deref(&self) -> &$crate::Hold {
                self.guard.hold()
            }
        }

        impl $type {
            /// A cheap view of the hold for tasks that work under it. It cannot release.
            ///
            /// # Examples
            /// ```no_run
            #[doc = concat!("# fn example(guard: &", $path, ") {")]
            /// let hold = guard.hold();
            /// std::thread::spawn(move || {
            ///     while hold.is_valid() {
            ///         // a part of the work
            ///     }
            /// });
            /// # }
            /// ```
            pub fn hold(&self) -> $crate::Hold {
                self.guard.hold().clone()
            }

            /// Renews the hold so that it lasts at least `lease` from now. Never shortens it.
            ///
            /// # Errors
            /// `Lost` if it has ended; `Invalid` for a lease out of range or past the maximum hold; `Unavailable` if there
            /// was no answer in time: it may have been extended, and `valid_for` counts on not.
            ///
            /// # Cancel safety
            /// The extension may or may not happen.
            ///
            /// # Examples
            /// ```no_run
            /// # use std::time::Duration;
            #[doc = concat!("# async fn example(guard: &", $path, ") -> Result<(), latchwork_core::Error> {")]
            /// guard.extend(Duration::from_secs(120)).await?;
            /// // Now a step that blocks the runtime for a minute is safe.
            /// # Ok(())
            /// # }
            /// ```
            pub async fn extend(&self, lease: std::time::Duration) -> $crate::Result<()> {
                self.guard.extend(lease).await
            }

            /// Releases, and says what came of it. The release is under way at the first poll: dropping the future after
            /// that loses only the answer.
            ///
            /// # Errors
            /// `Lost` if the hold had already ended; nobody else's hold is affected. `Unavailable`
            /// if the server does not answer within `unavailable_after`, or before the lease is over
            /// if that is sooner; the client continues to release the hold. `Closed` if the client is
            /// closed, or its runtime ends, before the answer; the lock is then free by the end of
            /// its lease.
            ///
            /// # Cancel safety
            /// The release happens all the same.
            ///
            /// # Examples
            /// ```no_run
            #[doc = concat!("# async fn example(guard: ", $path, ") {")]
            #[doc = concat!("if let Err(error) = guard.", stringify!($release), "().await {")]
            ///     eprintln!("it was not ours to the end: {error}");
            /// }
            /// # }
            /// ```
            pub fn $release(self) -> $crate::Unlock {
                self.guard.unlock()
            }

            /// Gives it up without releasing: nobody renews, and what it held is free again when the lease has run out.
            ///
            /// # Examples
            /// A job that starts once per lease across a fleet: the lease keeps late nodes out.
            /// ```no_run
            /// # async fn job() {}
            #[doc = concat!("# async fn example(guard: ", $path, ") {")]
            /// job().await;
            /// guard.forget();
            /// # }
            /// ```
            pub fn forget(self) {
                self.guard.forget();
            }
        }
    };
}

/// The options that the builders of all primitives with holds have, on a struct with the field `options: PrimitiveOptions`.
#[doc(hidden)]
#[macro_export]
macro_rules! builder_options {
    ($builder:ident) => {
        impl $builder {
            /// How long the server keeps a hold without hearing of its holder: 10 ms to 24 h. Defaults to the client's, 10 s.
            pub fn lease(mut self, lease: std::time::Duration) -> Self {
                self.options.lease = Some(lease);
                self
            }

            /// Whether the keeper renews the lease. Defaults to [`Renew::Watchdog`]($crate::Renew::Watchdog).
            pub fn renew(mut self, renew: $crate::Renew) -> Self {
                self.options.renew = renew;
                self
            }

            /// The longest that a hold is kept: renewals stop, and it reads lost. At least the lease. Defaults to no limit.
            pub fn max_hold(mut self, most: std::time::Duration) -> Self {
                self.options.max_hold = Some(most);
                self
            }

            /// The most that may wait at once, in all processes together: more are refused with `QueueFull` at once. 1 to
            /// 1 000 000. Defaults to the client's, 10 000. It counts for the attempts of this handle.
            pub fn max_waiters(mut self, most: u32) -> Self {
                self.options.max_waiters = Some(most);
                self
            }
        }
    };
}

/// Implements [`Lock`] by the methods of the same names.
#[doc(hidden)]
#[macro_export]
macro_rules! lock_by_its_methods {
    ($type:ty, $lock:ident, $try_lock_until:ident) => {
        #[$crate::dynamic::async_trait]
        impl $crate::dynamic::Lock for $type {
            fn name(&self) -> &$crate::Name {
                <$type>::name(self)
            }

            async fn lock(&self) -> $crate::Result<Box<dyn $crate::dynamic::Guard>> {
                Ok(Box::new(<$type>::$lock(self).await?))
            }

            async fn try_lock_until(
                &self,
                deadline: std::time::Instant,
            ) -> $crate::Result<Option<Box<dyn $crate::dynamic::Guard>>> {
                let granted = <$type>::$try_lock_until(self, deadline).await?;
                Ok(granted.map(|guard| Box::new(guard) as Box<dyn $crate::dynamic::Guard>))
            }
        }
    };
}
