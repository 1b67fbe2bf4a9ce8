//! Runs scripts on a node, and loads those that its server does not know.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use redis::Value;

use super::node::{Link, Node};
use crate::base::clock::{Moment, until};
use crate::connection::failure::Failure;
use crate::connection::handshake::load_scripts;
use crate::connection::refusal::is_withheld;
use crate::types::error::Result;
use crate::wire::command::Request;
use crate::wire::script::ALL;
use crate::wire::value::{Answer, Reply};

impl Node {
    /// Runs a script for a call, which fails at once if there has been no connection for long. The
    /// error tells whether the script may have run.
    pub(crate) async fn call(&self, request: &Request, deadline: Moment) -> Result<Answer, Failure> {
        let link = self.usable(deadline).await?;
        self.run_on(link, request, deadline).await
    }

    /// Runs a script for what belongs to a hold, which waits for a connection until `deadline`.
    pub(crate) async fn run(&self, request: &Request, deadline: Moment) -> Result<Answer, Failure> {
        let link = self.link(deadline).await?;
        self.run_on(link, request, deadline).await
    }

    pub(crate) async fn run_on(
        &self,
        mut link: Link,
        request: &Request,
        deadline: Moment,
    ) -> Result<Answer, Failure> {
        let seen = self.loads();
        let script = Some(request.script);
        if self.sending().is_text() {
            return Box::pin(self.send_text(link, request, deadline)).await;
        }
        match self.send(&mut link, &request.command, deadline, script).await {
            Err(failure) if failure.is_no_script() => {
                Box::pin(self.load_and_retry(link, request, deadline, seen)).await
            }
            result => result,
        }
    }

    /// Loads the scripts into a server that did not know this one, and runs it again.
    async fn load_and_retry(
        &self,
        mut link: Link,
        request: &Request,
        deadline: Moment,
        mut seen: u64,
    ) -> Result<Answer, Failure> {
        let script = Some(request.script);
        for _ in 0..2 {
            if !self.sending().can_load() {
                break;
            }
            self.load_again(&mut link, deadline, &mut seen).await?;
            match self.send(&mut link, &request.command, deadline, script).await {
                Err(failure) if failure.is_no_script() => {}
                result => return result,
            }
        }
        // The server keeps forgetting the script, or cannot load it: send its text.
        self.send_text(link, request, deadline).await
    }

    async fn send_text(
        &self,
        mut link: Link,
        request: &Request,
        deadline: Moment,
    ) -> Result<Answer, Failure> {
        let script = Some(request.script);
        self.send(&mut link, &request.as_eval(), deadline, script).await
    }

    /// Reads the answer to a script that was run for many attempts: an answer for each. `None`: the
    /// attempt has to be sent alone.
    pub(crate) fn answers(
        &self,
        request: &Request,
        Answer { reply, sent, clock }: Answer,
    ) -> Result<Vec<Result<Option<Answer>, Failure>>, Failure> {
        let items = reply.items().map_err(Failure::refused)?;
        let part = |Reply(value)| match value {
            Value::Nil => Ok(None),
            Value::ServerError(error) => {
                Err(self.failure(&error.into(), self.generation(), Some(request.script)))
            }
            value => Ok(Some(Answer {
                reply: Reply(value),
                sent,
                clock: Arc::clone(&clock),
            })),
        };
        Ok(items.into_iter().map(part).collect())
    }

    /// Loads all scripts, unless somebody did since `seen`.
    #[allow(
        clippy::significant_drop_tightening,
        reason = "the gate is for the whole load"
    )]
    async fn load_again(&self, link: &mut Link, deadline: Moment, seen: &mut u64) -> Result<(), Failure> {
        let gate = until(deadline, Some(self.driver()), self.loading.lock()).await;
        let Some(_gate) = gate else {
            return Err(Failure::no_script());
        };
        if self.loads() == *seen {
            let scripts = ALL;
            let loading = load_scripts(&mut link.connection, &scripts);
            match until(deadline, Some(self.driver()), loading).await {
                Some(Ok(())) => {
                    self.loads.fetch_add(1, Ordering::Relaxed);
                }
                // The right was taken away since the greeting.
                Some(Err(error)) if is_withheld(&error) => self.sending().set_loading(false),
                Some(Err(error)) => return Err(self.failure(&error, link.generation, None)),
                None => {
                    return Err(Failure::no_script());
                }
            }
        }
        *seen = self.loads();
        Ok(())
    }
}
