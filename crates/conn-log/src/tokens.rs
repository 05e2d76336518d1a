//! `conn-log token …`.

use anyhow::{Context as _, bail};
use conn_log_core::Timestamp;
use conn_log_store::{NewToken, Store, TenantId, TokenInfo};

use crate::arguments::{TokenCommand, TokenCreate};
use crate::{open, result, say};

pub(crate) fn run(command: TokenCommand) -> anyhow::Result<()> {
    match command {
        TokenCommand::Create(new) => create(new),
        TokenCommand::List(database) => list(&open(&database)?),
        TokenCommand::Revoke { id, database } => {
            if !open(&database)?.token_revoke(id).context("cannot revoke the token")? {
                bail!("there is no valid token {id}");
            }
            say("revoked; other servers refuse it within 5 seconds");
            Ok(())
        }
    }
}

fn create(new: TokenCreate) -> anyhow::Result<()> {
    let store = open(&new.database)?;
    let tenant = tenant_id(&store, &new.tenant)?;
    let expires_at = match new.expires {
        None => None,
        Some(time) => {
            let time = chrono::TimeDelta::from_std(time).context("--expires is too long")?;
            Some(Timestamp::from(chrono::Utc::now()).plus(time))
        }
    };
    let new = NewToken { tenant, name: new.name, scopes: new.scope, expires_at };
    let (info, secret) = store.token_create(&new).context("cannot make the token")?;
    say(&format!("made token {}; it is shown this once", info.id));
    result(secret.expose());
    Ok(())
}

fn tenant_id(store: &Store, name: &str) -> anyhow::Result<TenantId> {
    let tenant = store.tenant_find(name).context("cannot look for the tenant")?;
    Ok(tenant.with_context(|| format!("there is no tenant {name:?}"))?.id)
}

fn list(store: &Store) -> anyhow::Result<()> {
    let now = Timestamp::from(chrono::Utc::now());
    for token in store.token_list().context("cannot list the tokens")? {
        result(&line(&token, now));
    }
    Ok(())
}

fn line(token: &TokenInfo, now: Timestamp) -> String {
    let scopes: Vec<String> = token.scopes.iter().map(ToString::to_string).collect();
    let expiry = token.expires_at.map_or_else(|| "never".to_owned(), |time| time.to_string());
    let state = match (token.revoked_at, token.expires_at) {
        (Some(_), _) => "revoked",
        (None, Some(time)) if time <= now => "expired",
        _ => "valid",
    };
    [&token.id.to_string(), &token.tenant_name, &token.name, &scopes.join(","), &expiry, state]
        .join("\t")
}
