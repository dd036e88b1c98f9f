//! What is sent to Spanner, in the client's own types, and what is sent again.

use std::{
    collections::VecDeque,
    future::{Future, ready},
    mem,
    sync::{Arc, Mutex},
};

use google_cloud_gax::{
    error::rpc::{Code, Status},
    options::RequestOptions,
    response::Response,
};
use google_cloud_spanner::{
    Result,
    client::Spanner,
    model::{
        BeginTransactionRequest, CommitRequest, CommitResponse, CreateSessionRequest, ExecuteBatchDmlRequest,
        ExecuteBatchDmlResponse, ResultSet, ResultSetMetadata, ResultSetStats, Session, Transaction,
        TypeCode,
        execute_batch_dml_request::Statement,
        transaction_options::{IsolationLevel, Mode},
        transaction_selector::Selector,
    },
    stub,
};
use vantio_core::{ClockError, Decision, Hash, RunId};

use super::*;
use crate::{
    Draft,
    entry::{Prepared, Salts},
    link::{Context, Links},
};

#[path = "../../../tests/stores/emulator.rs"]
#[allow(dead_code, clippy::unwrap_used, reason = "what the tests of all stores use")]
mod emulator;

/// A server that keeps what it is sent, and answers commits as it is told.
#[derive(Clone, Debug, Default)]
struct Fake(Arc<Mutex<Heard>>);

#[derive(Debug, Default)]
struct Heard {
    sessions: Vec<CreateSessionRequest>,
    batches: Vec<ExecuteBatchDmlRequest>,
    commits: Vec<CommitRequest>,
    /// How the next commits end; then all end well.
    outcomes: VecDeque<Code>,
}

impl stub::Spanner for Fake {
    fn create_session(
        &self,
        request: CreateSessionRequest,
        _: RequestOptions,
    ) -> impl Future<Output = Result<Response<Session>>> + Send {
        self.0.lock().unwrap().sessions.push(request);
        ready(Ok(Response::from(Session::new().set_name("session").set_multiplexed(true))))
    }

    fn begin_transaction(
        &self,
        _: BeginTransactionRequest,
        _: RequestOptions,
    ) -> impl Future<Output = Result<Response<Transaction>>> + Send {
        ready(Ok(Response::from(Transaction::new().set_id(b"begun".to_vec()))))
    }

    fn execute_batch_dml(
        &self,
        request: ExecuteBatchDmlRequest,
        _: RequestOptions,
    ) -> impl Future<Output = Result<Response<ExecuteBatchDmlResponse>>> + Send {
        let counted = |statement: &Statement| {
            ResultSet::new()
            .set_metadata(
                ResultSetMetadata::new().set_transaction(Transaction::new().set_id(b"begun".to_vec())),
            )
            .set_stats(ResultSetStats::new().set_row_count_exact(statement.sql.matches("PENDING_COMMIT_TIMESTAMP").count() as i64))
        };
        let answer: Vec<_> = request.statements.iter().map(counted).collect();
        self.0.lock().unwrap().batches.push(request);
        ready(Ok(Response::from(ExecuteBatchDmlResponse::new().set_result_sets(answer))))
    }

    fn commit(
        &self,
        request: CommitRequest,
        _: RequestOptions,
    ) -> impl Future<Output = Result<Response<CommitResponse>>> + Send {
        let mut heard = self.0.lock().unwrap();
        heard.commits.push(request);
        ready(match heard.outcomes.pop_front() {
            None => Ok(Response::from(CommitResponse::new())),
            Some(code) => Err(Error::service(Status::default().set_code(code).set_message("no"))),
        })
    }
}

impl Fake {
    fn appender(&self) -> Appender {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let client = runtime.block_on(async {
            Spanner::from_stub(self.clone())
                .database_client("projects/p/instances/i/databases/d")
                .with_database_role("vantio_writer")
                .build()
                .await
        });
        Appender::new(Connection::to(client.unwrap(), runtime), Uuid::nil()).unwrap()
    }

    fn heard(&self) -> Heard {
        mem::take(&mut self.0.lock().unwrap())
    }

    fn ends(&self, outcomes: &[Code]) {
        self.0.lock().unwrap().outcomes = outcomes.iter().copied().collect();
    }
}

/// The texts and rows of a chain that `writer` begins.
fn prepared(count: u64) -> Vec<Prepared> {
    let salts = Salts::new().unwrap();
    let draft = |number: u64| Draft {
        run_id: RunId::new(1, [7; 10]),
        pid: 1,
        op: "fs.open".into(),
        request: number.to_string().as_str().into(),
        response: true.into(),
        keeps_detail: number != 1,
        policy_hash: Hash::of(b"policy"),
        decision: (number != 1).then_some(Decision::Permit),
        anomaly: None,
    };
    (0..count).map(|number| Prepared::new(draft(number), &salts).unwrap()).collect()
}

fn links(writer: Uuid, prepared: Vec<Prepared>) -> Links {
    let context = Context { writer: Some(writer), clock_error: || ClockError::UNKNOWN };
    let mut links = Links::new(context, None, prepared.len());
    for prepared in prepared {
        links.push(prepared, None).unwrap();
    }
    links.follow(&Chain::GENESIS).unwrap();
    links
}

fn text(statement: &Statement, parameter: &str) -> Option<String> {
    let value = statement.params.as_ref().unwrap().get(parameter).unwrap();
    assert!(value.is_string() || value.is_null(), "{value}");
    value.as_str().map(str::to_owned)
}

#[test]
fn a_batch_is_one_transaction_of_rows_that_are_ignored_where_they_are() {
    let fake = Fake::default();
    let appender = fake.appender();
    let links = links(appender.writer, prepared(2));
    let rows: Vec<_> = links.rows().collect();
    appender.insert(&rows).unwrap();
    let heard = fake.heard();
    assert_eq!(heard.sessions[0].session.as_ref().unwrap().creator_role, "vantio_writer");
    assert_eq!((heard.batches.len(), heard.commits.len()), (1, 1));
    assert_eq!(heard.commits[0].mutations, []);
    let Some(Selector::Begin(begin)) =
        heard.batches[0].transaction.as_ref().and_then(|transaction| transaction.selector.clone())
    else {
        panic!("{:?}", heard.batches[0].transaction)
    };
    assert_eq!(begin.isolation_level, IsolationLevel::Serializable);
    assert!(matches!(begin.mode, Some(Mode::ReadWrite(_))), "{begin:?}");
    let [statement] = &heard.batches[0].statements[..] else { panic!("{:?}", heard.batches[0].statements) };
    assert_eq!(
        statement.sql,
        "INSERT OR IGNORE INTO entries \
         (writer, seq, run_id, op, decision, record_id, this_hash, body, detail, committed) VALUES \
         (@writer, @seq0, @run_id0, @op0, @decision0, @record_id0, @this_hash0, @body0, @detail0, \
         PENDING_COMMIT_TIMESTAMP()), \
         (@writer, @seq1, @run_id1, @op1, @decision1, @record_id1, @this_hash1, @body1, @detail1, \
         PENDING_COMMIT_TIMESTAMP())"
    );
    let base64 = |bytes: &[u8]| base64::Engine::encode(&base64::engine::general_purpose::STANDARD, bytes);
    let mut wanted = vec![("writer".to_owned(), Some(appender.writer.to_string()), TypeCode::String)];
    for (number, row) in rows.iter().enumerate() {
        let columns = [
            ("seq", Some(row.seq.to_string()), TypeCode::Int64),
            ("run_id", Some("00000000-0001-7707-8707-070707070707".into()), TypeCode::String),
            ("op", Some("fs.open".into()), TypeCode::String),
            ("decision", row.decision.map(str::to_owned), TypeCode::String),
            ("record_id", None, TypeCode::String),
            ("this_hash", Some(base64(&row.this_hash.0)), TypeCode::Bytes),
            ("body", Some(row.text.to_owned()), TypeCode::String),
            ("detail", row.detail.map(|detail| base64(detail.as_bytes())), TypeCode::Bytes),
        ];
        wanted.extend(columns.map(|(name, value, code)| (format!("{name}{number}"), value, code)));
    }
    assert_eq!(statement.params.as_ref().unwrap().len(), wanted.len());
    for (name, value, code) in wanted {
        assert_eq!(text(statement, &name), value, "{name}");
        assert_eq!(statement.param_types[&name].code, code, "{name}");
    }
}

#[test]
fn a_batch_whose_outcome_is_not_known_is_sent_again() {
    let fake = Fake::default();
    let appender = fake.appender();
    let links = links(appender.writer, prepared(3));
    let rows: Vec<_> = links.rows().collect();
    fake.ends(&[Code::DeadlineExceeded, Code::Unknown]);
    appender.insert(&rows).unwrap();
    let heard = fake.heard();
    assert_eq!((heard.batches.len(), heard.commits.len()), (3, 3));
    let said = |number: usize| &heard.batches[number].statements;
    assert!(said(0) == said(1) && said(1) == said(2), "the same rows");

    fake.ends(&[Code::DeadlineExceeded; 3]);
    let error = appender.insert(&rows).unwrap_err();
    assert_eq!((error.code(), fake.heard().commits.len()), ("E_LEDGER_SERVER", 3));
    fake.ends(&[Code::PermissionDenied]);
    let error = appender.insert(&rows).unwrap_err();
    assert_eq!((error.code(), fake.heard().commits.len()), ("E_LEDGER_READ_ONLY", 1));
}

#[test]
fn an_aborted_transaction_is_done_again_from_the_start() {
    let fake = Fake::default();
    let appender = fake.appender();
    let links = links(appender.writer, prepared(1));
    fake.ends(&[Code::Aborted]);
    appender.insert(&links.rows().collect::<Vec<_>>()).unwrap();
    let heard = fake.heard();
    assert_eq!((heard.batches.len(), heard.commits.len()), (2, 2));
}

#[test]
fn a_request_is_never_larger_than_spanner_takes() {
    let writer = Uuid::nil();
    let detail = "d".repeat(4 << 20);
    let links = links(writer, prepared(6));
    let mut rows: Vec<_> = links.rows().collect();
    rows.iter_mut().skip(3).for_each(|row| row.detail = Some(&detail));
    let requests = statements::insert(writer, &rows).unwrap();
    assert_eq!(requests.len(), 4, "three small ones, and three alone");
}

/// In Google's emulator, a fake.
#[test]
fn what_is_sent_again_is_not_written_again() {
    let emulator = emulator::Emulator::shared();
    let address = emulator.address(&emulator.database());
    prepare(&address).unwrap();
    let appender = Appender::open(&address, Duration::from_secs(10)).unwrap();
    let links = links(appender.writer, prepared(4));
    let mut rows: Vec<_> = links.rows().collect();
    appender.insert(&rows[..2]).unwrap();
    for _ in 0..2 {
        appender.insert(&rows).unwrap();
    }
    let reader = read::Database::open(&address).unwrap().0;
    assert_eq!(reader.size().unwrap(), 4);
    rows[1].this_hash = Hash::ZERO;
    let error = appender.insert(&rows).unwrap_err();
    assert_eq!(error.code(), "E_LEDGER_DAMAGED", "{error}");
    assert_eq!(reader.size().unwrap(), 4);
}
