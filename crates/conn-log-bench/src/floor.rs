//! The baseline for single events over HTTP: the same body parsed, checked by the same rules and
//! answered with the same record, on plain actix-web without tokens, metrics or log lines.
//!
//! Without a database the record is made up. With a database, each request has a transaction of its
//! own. Events go either over a pool of connections into a plain table, as in most services, or
//! through the store's own writer with one submission per commit, which is the best case.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use actix_web::http::header;
use actix_web::{App, HttpResponse, HttpServer, web};
use conn_log_core::{Event, EventPolicy, JsonBody, Record, Timestamp};
use conn_log_store::{DatabaseUrl, Outcome, Store, StoreOptions, Submission, TenantId};

use crate::plain_table::PlainTable;

#[derive(clap::Args)]
pub(crate) struct Floor {
    #[arg(long)]
    listen: SocketAddr,
    /// One transaction a request into a plain table of this database
    #[arg(long)]
    plain_table: Option<String>,
    /// One transaction a request into the log of this database
    #[arg(long, conflicts_with = "plain_table")]
    log: Option<DatabaseUrl>,
}

struct State {
    policy: EventPolicy,
    next: AtomicI64,
    keep: Keep,
}

/// The target of the events.
enum Keep {
    Nowhere,
    PlainTable(Arc<PlainTable>),
    Log(Store),
}

impl Floor {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let keep = match (self.plain_table, self.log) {
            (Some(url), _) => Keep::PlainTable(Arc::new(PlainTable::open(&url)?)),
            (_, Some(url)) => Keep::Log(Store::open(StoreOptions {
                group_events_max: 1,
                ..StoreOptions::new(url)
            })?),
            (None, None) => Keep::Nowhere,
        };
        let state =
            web::Data::new(State { policy: EventPolicy::default(), next: AtomicI64::new(1), keep });
        actix_web::rt::System::new().block_on(async move {
            HttpServer::new(move || {
                App::new()
                    .app_data(state.clone())
                    .route("/api/v1/device_app_connection_log/", web::post().to(register))
                    .route("/readyz", web::get().to(HttpResponse::Ok))
            })
            .bind(self.listen)?
            .run()
            .await
        })?;
        Ok(())
    }
}

async fn register(state: web::Data<State>, body: web::Bytes) -> HttpResponse {
    let now = Timestamp::from(chrono::Utc::now());
    let event = match JsonBody::read(&body, 1) {
        Ok(JsonBody::Event(draft)) => state.policy.check(draft, now),
        _ => return HttpResponse::BadRequest().finish(),
    };
    let Ok(event) = event else {
        return HttpResponse::UnprocessableEntity().finish();
    };
    let Some(record) = record(&state, event, now).await else {
        return HttpResponse::ServiceUnavailable().finish();
    };
    HttpResponse::Created()
        .content_type("application/json")
        .insert_header((
            header::LOCATION,
            format!("/api/v1/device_app_connection_log/{}/", record.id),
        ))
        .body(record.to_json())
}

async fn record(state: &State, event: Event, now: Timestamp) -> Option<Record> {
    match &state.keep {
        Keep::Nowhere => {
            let id = state.next.fetch_add(1, Ordering::Relaxed);
            Some(Record { id, created_at: now, event })
        }
        Keep::PlainTable(table) => {
            let table = Arc::clone(table);
            web::block(move || table.insert(event, now)).await.ok()?.ok()
        }
        Keep::Log(store) => {
            let submission = Submission {
                tenant: TenantId::DEFAULT,
                events: vec![event],
                atomic: false,
                claim: None,
                rejects: None,
            };
            match store.append(submission).await {
                Ok(Outcome::Appended(appended)) => appended.first()?.record().cloned(),
                _ => None,
            }
        }
    }
}
