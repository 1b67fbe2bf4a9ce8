//! The macros that make the types of primitives. `#[macro_export]` puts them at the root: they are hidden there.

/// Makes a struct with the field `guard: Guard` the guard type of a primitive: it derefs to its [`Hold`](crate::Hold), and
/// has the methods that all guards have. `$release` and `$release_after` are what its releases are called, `$path` its name
/// for the examples.
#[doc(hidden)]
#[macro_export]
macro_rules! guard_type {
    ($type:ident, $path:literal, $release:ident, $release_after:ident) => {
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
            /// Those of [every request](crate::ErrorKind#every-request). `Lost` if the hold has
            /// ended. `Invalid` for a lease that is out of range or reaches past the maximum hold.
            /// After `Unavailable` the hold may have been extended, and `valid_for` assumes that it
            /// was not.
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
            /// `Lost` if the hold had already ended; nobody else's hold is affected. `Closed` if
            /// the client is closed, or its runtime ends, before the answer; the lock is then free
            /// by the end of its lease. Those of [every request](crate::ErrorKind#every-request) if
            /// the server does not answer within `unavailable_after`, or before the lease is over
            /// if that is sooner, or if it refuses; the client continues to release the hold.
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

            /// Releases after the given time, counted from this call. Nobody renews the hold until
            /// then, whether this process lives or not.
            ///
            /// The server ends the hold to the millisecond, by its own clock. The time may be
            /// longer or shorter than what is left of the lease. It is at most 24 h, and zero is a
            /// release at once. A hold with a maximum (`max_hold`) ends with that if it comes
            /// first. The guard is gone: nothing tells this process when the time is over, or that
            /// somebody has called `force_unlock`. This is one request. A future that is dropped
            /// loses only the answer. If the server cannot be reached, the hold ends with its
            /// lease.
            ///
            /// # Errors
            #[doc = concat!("As [`", stringify!($release), "`](Self::", stringify!($release), "). After [`ErrorKind::Unavailable`]($crate::ErrorKind::Unavailable)")]
            /// the hold ends after the given time, or with its lease.
            /// [`ErrorKind::Invalid`]($crate::ErrorKind::Invalid) for more than 24 h: then it is
            /// released at once, as by a drop.
            ///
            /// # Cancel safety
            /// The release happens all the same, after the given time.
            ///
            /// # Examples
            /// A pause of a minute between two runs of a job:
            /// ```no_run
            /// # use std::time::Duration;
            /// # async fn job() {}
            #[doc = concat!("# async fn example(guard: ", $path, ") -> Result<(), latchwork_core::Error> {")]
            /// job().await;
            #[doc = concat!("guard.", stringify!($release_after), "(Duration::from_secs(60)).await")]
            /// # }
            /// ```
            pub fn $release_after(self, after: std::time::Duration) -> $crate::Unlock {
                self.guard.unlock_after(after)
            }

            /// Turns it into a ticket with which this or another process can go on, by the method
            /// `resume` of a handle of the same kind, name, prefix and database. The hold is
            /// renewed once more, and then lives until its lease ends or it is resumed.
            ///
            /// # Errors
            /// Those of [every request](crate::ErrorKind#every-request), and `Lost` if the hold has
            /// ended. In each case it is given up.
            ///
            /// # Cancel safety
            /// Dropping it releases.
            ///
            /// # Examples
            /// ```no_run
            #[doc = concat!("# async fn example(guard: ", $path, ") -> Result<(), latchwork_core::Error> {")]
            /// let ticket = guard.into_ticket().await?;
            /// println!("{ticket}"); // the text to give to the other process
            /// # Ok(())
            /// # }
            /// ```
            pub async fn into_ticket(self) -> $crate::Result<$crate::Ticket> {
                self.guard.into_ticket(None).await
            }

            /// Like [`into_ticket`](Self::into_ticket), for a ticket that waits longer than the hold's lease, as in a queue
            /// of jobs. If `lease` is shorter than the hold's lease, the hold's lease is used. After `resume`, the hold has
            /// the lease of the handle that resumed it.
            ///
            /// # Errors
            /// As [`into_ticket`](Self::into_ticket). `Invalid` for a lease of more than 24 h, or one that reaches past the
            /// maximum hold.
            ///
            /// # Cancel safety
            /// Dropping it releases.
            ///
            /// # Examples
            /// ```no_run
            /// # use std::time::Duration;
            #[doc = concat!("# async fn example(guard: ", $path, ") -> Result<(), latchwork_core::Error> {")]
            /// let ticket = guard.into_ticket_for(Duration::from_secs(3600)).await?;
            /// # Ok(())
            /// # }
            /// ```
            pub async fn into_ticket_for(self, lease: std::time::Duration) -> $crate::Result<$crate::Ticket> {
                self.guard.into_ticket(Some(lease)).await
            }

            /// Gives it up without releasing: nobody renews, and what it held is free again when the lease has run out.
            ///
            /// The lease counts from the last renewal, so this can be any time up to a lease. For a
            #[doc = concat!("time of your choice, use [`", stringify!($release_after), "`](Self::", stringify!($release_after), ").")]
            ///
            /// # Examples
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

            /// The longest that a hold is kept: the lease to 365 days. Then renewals stop, and it
            /// reads lost. Defaults to no limit.
            ///
            /// It counts from the grant, whatever becomes of the hold. A hold that was made from
            /// another one by a downgrade, split or ticket has the maximum of that one. After a
            /// merge, the earlier one counts. If a ticket is resumed by a handle with a maximum of
            /// its own, the time before counts as well, and the smaller one applies.
            pub fn max_hold(mut self, most: std::time::Duration) -> Self {
                self.options.max_hold = Some(most);
                self
            }

            /// The shortest time for which a hold is in use, from its grant on. Defaults to none.
            ///
            /// Whatever ends the hold earlier (a release, a drop, the end of the process), nobody
            /// else gets it until this time is over. `run` returns when its body is done. A job that
            /// many machines start at about the same time runs once if the time is longer than their
            /// clocks can differ. 1 ms to 24 h, and at most the maximum hold.
            ///
            /// The hold is granted for this time if the lease is shorter, so it outlasts a process
            /// that is killed. An exception is a process that is killed within the claim window
            /// after a hand-off. `force_unlock` and `steal` end the hold at once. A hold that was
            /// made from another one by a downgrade, split or ticket counts from then.
            pub fn hold_at_least(mut self, least: std::time::Duration) -> Self {
                self.options.hold_at_least = Some(least);
                self
            }

            /// How far a grant has to get before its guard is handed out: to replicas, or to disk.
            /// Defaults to the client's, `Primary`.
            ///
            /// A grant that does not get there in time is released, and the call returns
            /// [`ErrorKind::NotDurable`]($crate::ErrorKind::NotDurable). The time comes on top of
            /// that of a bounded wait. It also counts for a hold that is stolen, resumed or upgraded.
            pub fn durability(mut self, durability: $crate::Durability) -> Self {
                self.options.durability = Some(durability);
                self
            }

            /// The most that may wait at once, in all processes together: more are refused with `QueueFull` at once. 1 to
            /// 1 000 000. Defaults to the client's, 10 000. It counts for the attempts of this handle.
            pub fn max_waiters(mut self, most: u32) -> Self {
                self.options.max_waiters = Some(most);
                self
            }

            /// What the holds are for, as `inspect` shows it to people. Defaults to none.
            ///
            /// At most 128 bytes: a longer text is cut. To give each request a text of its own, call `for_purpose` of the
            /// handle, which also says when the text is sent.
            pub fn purpose(mut self, text: impl Into<String>) -> Self {
                self.options.purpose = Some(text.into());
                self
            }
        }
    };
}

/// Gives a handle with these fields of the type `Primitive` the method `for_purpose`.
#[doc(hidden)]
#[macro_export]
macro_rules! for_purpose {
    ($type:ident, $path:literal, $($field:ident),+) => {
        impl $type {
            /// The same handle for requests that are for this: `inspect` shows the text beside the hold or the waiter.
            ///
            /// At most 128 bytes: a longer text is cut, and an empty one is none. It is sent only if the attempt lasts for a
            /// quarter of a second, in one request of the background with all that this client has to say by then; the
            /// call itself costs nothing more. It is shown while the client lives and for at least the retention after
            /// that. If a client has more than 256 attempts with something to say, or they take more than 16 KiB, the
            /// oldest are shown. Anyone who may read the keys of this prefix can read it, so it must not be a secret.
            ///
            /// # Examples
            /// ```no_run
            #[doc = concat!("# fn example(handle: &", $path, ") {")]
            /// let handle = handle.for_purpose(&format!("import of file {}", 7));
            /// # }
            /// ```
            #[must_use]
            pub fn for_purpose(&self, text: &str) -> Self {
                let mut handle = self.clone();
                $(handle.$field = self.$field.for_purpose(text);)+
                handle
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
