//! `conn-log token …`.

use anyhow::Context as _;
use conn_log_core::{Binding, Timestamp};
use conn_log_store::{NewToken, Rate, Store, Tenant, Token};

use crate::arguments::{TokenCommand, TokenCreate};
use crate::{open, result, say};

pub(crate) fn run(command: TokenCommand) -> anyhow::Result<()> {
    match command {
        TokenCommand::Create(new) => create(new),
        TokenCommand::List(database) => list(&open(&database)?),
        TokenCommand::Revoke { id, database } => {
            open(&database)?.token_revoke(None, id).context("cannot revoke the token")?;
            say("revoked; other servers refuse it within 5 seconds");
            Ok(())
        }
    }
}

fn create(new: TokenCreate) -> anyhow::Result<()> {
    let store = open(&new.database)?;
    let expires_at = match new.expires {
        None => None,
        Some(time) => {
            let time = chrono::TimeDelta::from_std(time).context("--expires is too long")?;
            Some(Timestamp::from(chrono::Utc::now()).plus(time))
        }
    };
    let rate = new.rate.map(|events_per_second| Rate {
        events_per_second,
        burst_events: new.burst.unwrap_or(events_per_second),
    });
    let tenant = store
        .tenant_find_by_name(&new.tenant)
        .context("cannot look for the tenant")?
        .with_context(|| format!("there is no tenant {:?}", new.tenant))?
        .id;
    let binding = Binding { device_id: new.device_id, application_id: new.application_id };
    let new = NewToken { expires_at, rate, binding, ..NewToken::new(tenant, new.name, new.scope) };
    let (token, secret) = store.token_create(new).context("cannot make the token")?;
    say(&format!("made token {}; it is shown this once", token.id));
    result(secret.reveal());
    Ok(())
}

fn list(store: &Store) -> anyhow::Result<()> {
    let now = Timestamp::from(chrono::Utc::now());
    let tenants = store.tenant_list().context("cannot list the tenants")?;
    for token in store.token_list(None).context("cannot list the tokens")? {
        result(&line(&token, &tenants, now));
    }
    Ok(())
}

fn line(token: &Token, tenants: &[Tenant], now: Timestamp) -> String {
    let tenant = tenants.iter().find(|tenant| tenant.id == token.tenant);
    let tenant = tenant.map_or("?", |tenant| &tenant.name);
    let scopes: Vec<&str> = token.scopes.iter().map(|scope| scope.name()).collect();
    let expiry = token.expires_at.map_or_else(|| "never".to_owned(), |time| time.to_string());
    let state = match token.revoked_at {
        Some(_) => "revoked",
        None if token.is_valid_at(now) => "valid",
        None => "expired",
    };
    let bound_to = |id: &Option<String>| id.clone().unwrap_or_default();
    [
        &token.id.to_string(),
        tenant,
        &token.name,
        &scopes.join(","),
        &expiry,
        state,
        &bound_to(&token.binding.device_id),
        &bound_to(&token.binding.application_id),
    ]
    .join("\t")
}
