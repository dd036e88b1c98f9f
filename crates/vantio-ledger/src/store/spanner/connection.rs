//! One connection to a database, and waiting for its answers.

use std::{error, fmt::Write as _, future::Future, io, path::Path, path::PathBuf, sync::Arc, time::Duration};

use google_cloud_gax::{client_builder, error::rpc::Code};
use google_cloud_spanner::{
    Error,
    client::{DatabaseClient, Spanner},
    model::transaction_options::IsolationLevel,
    result::{ResultSet, Row},
    statement::Statement,
    transaction::{MultiUseReadOnlyTransaction, ReadWriteTransaction},
};
use tokio::runtime::{self, Runtime};

use super::address::{self, Address};
use crate::{LedgerError, store::io_error};

/// A session in one role. Nothing happens between calls: whoever calls waits, and drives the client
/// meanwhile.
pub(super) struct Connection {
    // Before the runtime, so that it goes first.
    client: DatabaseClient,
    runtime: Runtime,
    pub name: PathBuf,
    /// How long others may be in the way of a transaction.
    busy: Duration,
}

impl Connection {
    /// A session in the role that the address names, or where `role` is false with all the rights
    /// of whoever asks.
    pub fn open(text: &str, address: &Address, role: bool, busy: Duration) -> Result<Self, LedgerError> {
        let name = address::name(text);
        // Where another part of the program was first, theirs is used.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(io_error("start a connection to", &name))?;
        let client = runtime.block_on(within(CONNECT, async {
            let spanner = Spanner::builder().with_endpoint(endpoint(address)).build().await?;
            let mut client = spanner.database_client(&address.database);
            if role {
                client = client.with_database_role(&address.role);
            }
            client.build().await.map_err(Failure::Call)
        }));
        let client = client.map_err(|failure| failure.named(&name))?;
        Ok(Self { client, runtime, name, busy })
    }

    #[cfg(test)]
    pub fn to(client: DatabaseClient, runtime: Runtime) -> Self {
        Self { client, runtime, name: "spanner://test".into(), busy: Duration::from_secs(1) }
    }

    /// Waits for something.
    pub fn wait<Answer>(&self, something: impl Future<Output = Answer>) -> Answer {
        self.runtime.block_on(something)
    }

    /// What a query finds of what is committed now.
    pub fn query(&self, statement: Statement) -> Result<Vec<Row>, LedgerError> {
        self.ask(async { rows(self.client.single_use().build().execute_query(statement).await?).await })
    }

    /// One moment of the store, however many queries look at it.
    pub fn moment(&self) -> Result<MultiUseReadOnlyTransaction, LedgerError> {
        self.ask(self.client.read_only_transaction().build())
    }

    /// What a query finds of one moment.
    pub fn query_at(
        &self,
        moment: &MultiUseReadOnlyTransaction,
        statement: Statement,
    ) -> Result<Vec<Row>, LedgerError> {
        self.ask(async { rows(moment.execute_query(statement).await?).await })
    }

    fn ask<Answer>(&self, asked: impl Future<Output = Result<Answer, Error>>) -> Result<Answer, LedgerError> {
        let asked = async { asked.await.map_err(Failure::Call) };
        self.wait(within(READ, asked)).map_err(|failure| failure.named(&self.name))
    }

    /// Does `work` in one serialisable transaction and commits it. The client does it again from the
    /// start, with a transaction of its own, where Spanner aborted it: then nothing of it was written.
    pub fn write<Done>(
        &self,
        work: impl AsyncFnMut(ReadWriteTransaction) -> Result<Done, Error>,
    ) -> Result<Done, Error> {
        let transaction = self.client.read_write_transaction();
        let transaction = transaction
            .set_isolation_level(IsolationLevel::Serializable)
            .with_transaction_timeout(self.limit())
            .build();
        let limited = self.wait(async { tokio::time::timeout(self.limit(), transaction.run(work)).await });
        limited.unwrap_or_else(|late| Err(Error::timeout(late))).map(|done| done.result)
    }

    /// How long a transaction may take in all, with what it must do again.
    pub fn limit(&self) -> Duration {
        3 * self.busy
    }
}

/// How long to wait for a server to answer at first,
const CONNECT: Duration = Duration::from_secs(10);

/// and for the answer to a query.
const READ: Duration = Duration::from_mins(1);

/// The client asks a server that does not answer for ever; we do not.
async fn within<Answer>(
    limit: Duration,
    asked: impl Future<Output = Result<Answer, Failure>>,
) -> Result<Answer, Failure> {
    tokio::time::timeout(limit, asked).await.unwrap_or(Err(Failure::Late(limit)))
}

/// What a query finds within a transaction.
pub(super) async fn find(
    transaction: &ReadWriteTransaction,
    query: impl Into<Statement>,
) -> Result<Vec<Row>, Error> {
    // The client's futures are large.
    let found = Box::pin(transaction.execute_query(query)).await?;
    Box::pin(rows(found)).await
}

/// All rows of an answer.
async fn rows(mut answer: ResultSet) -> Result<Vec<Row>, Error> {
    let mut rows = Vec::new();
    while let Some(row) = answer.next().await {
        rows.push(row?);
    }
    Ok(rows)
}

/// Where the database is asked. Said always, so that no variable of the environment sends evidence
/// to an emulator.
pub(super) fn endpoint(address: &Address) -> String {
    address.emulator.map_or_else(|| "https://spanner.googleapis.com".into(), |host| format!("http://{host}"))
}

/// Why there is no connection.
#[derive(Debug)]
pub(super) enum Failure {
    Build(client_builder::Error),
    Call(Error),
    Late(Duration),
}

impl From<client_builder::Error> for Failure {
    fn from(error: client_builder::Error) -> Self {
        Self::Build(error)
    }
}

impl Failure {
    /// The failure of what is called `name`.
    pub fn named(self, name: &Path) -> LedgerError {
        match self {
            Self::Call(error) => server_error(name)(error),
            Self::Late(limit) => LedgerError::Server {
                path: name.into(),
                reason: format!("no answer within {} s", limit.as_secs()),
                source: Arc::new(io::Error::from(io::ErrorKind::TimedOut)),
            },
            Self::Build(error) => {
                LedgerError::Server { path: name.into(), reason: reasons(&error), source: Arc::new(error) }
            }
        }
    }
}

/// Turns the server's answers into ours.
pub(super) fn server_error(name: &Path) -> impl Fn(Error) -> LedgerError + use<> {
    let path = name.to_path_buf();
    move |source| {
        let path = path.clone();
        if let Some(own) = own(&source) {
            return own.clone();
        }
        match source.status().map(|status| status.code) {
            Some(Code::PermissionDenied) => LedgerError::ReadOnly { path },
            Some(Code::NotFound) => LedgerError::NotFound { path },
            Some(Code::Aborted) => LedgerError::Busy { path },
            Some(Code::DataLoss) => LedgerError::Damaged { path, detail: reasons(&source) },
            _ => LedgerError::Server { path, reason: reasons(&source), source: Arc::new(source) },
        }
    }
}

/// Whether a transaction that ended so may have been committed all the same.
pub(super) fn may_be_committed(error: &Error) -> bool {
    own(error).is_none()
        && error.status().is_none_or(|status| {
            matches!(
                status.code,
                Code::Unavailable | Code::DeadlineExceeded | Code::Unknown | Code::Internal | Code::Cancelled
            )
        })
}

/// An error of ours, on its way out of a transaction, which it ends.
pub(super) fn refusal(error: LedgerError) -> Error {
    Error::ser(error)
}

fn own(error: &Error) -> Option<&LedgerError> {
    error::Error::source(error).and_then(|source| source.downcast_ref())
}

fn reasons(error: &(dyn error::Error + 'static)) -> String {
    let mut text = error.to_string().replace('\n', " ");
    let mut source = error.source();
    while let Some(cause) = source {
        let more = cause.to_string();
        // Many of the client's errors say what their cause says.
        if !text.contains(&more) {
            let _ = write!(text, ": {}", more.replace('\n', " "));
        }
        source = cause.source();
    }
    text
}
