//! Reads a new token from a body, and checks that its maker may grant it.

use chrono::TimeDelta;
use conn_log_core::{Binding, Timestamp};
use conn_log_store::{Handling, NewToken, OnReject, Rate, Scope, TenantId, Token};

use crate::http::json_object::Members;
use crate::http::problem::{Problem, ProblemKind};

/// A hundred years. Instead of a longer time, a client should make a token that never expires.
const EXPIRES_IN_SECONDS_MAX: u32 = 100 * 366 * 24 * 60 * 60;

/// Maximum events a second, and maximum burst: more than a server can take.
const RATE_MAX: u32 = 1_000_000_000;

/// Reads the members of a new token for that tenant.
///
/// # Errors
/// 400 or 422 with all faults.
pub(super) fn read(
    mut members: Members<'_>,
    tenant: TenantId,
    now: Timestamp,
) -> Result<NewToken, Problem> {
    let name = members.required_label("name").unwrap_or_default();
    let scopes = members.required_choices("scopes", Scope::ALL, Scope::name);
    let expires_in_seconds = members.count("expires_in_seconds", EXPIRES_IN_SECONDS_MAX);
    let new = NewToken {
        expires_at: expires_in_seconds.map(|time| now.plus(TimeDelta::seconds(time.into()))),
        rate: rate(&mut members),
        binding: Binding {
            device_id: members.label("device_id"),
            application_id: members.label("application_id"),
        },
        on_reject: members.choice("on_reject", OnReject::ALL, OnReject::name),
        handling: members.choice("handling", Handling::ALL, Handling::name),
        ..NewToken::new(tenant, name, scopes)
    };
    members.finish()?;
    Ok(new)
}

/// Reads the rate. Without a burst, the burst is the events of one second.
fn rate(members: &mut Members<'_>) -> Option<Rate> {
    let has_rate = members.has("rate");
    let events_per_second = members.count("rate", RATE_MAX);
    let burst_events = members.count("burst", RATE_MAX);
    if burst_events.is_some() && !has_rate {
        members.missing_beside("rate", "burst");
    }
    let events_per_second = events_per_second?;
    Some(Rate { events_per_second, burst_events: burst_events.unwrap_or(events_per_second) })
}

/// Checks that `maker` may grant all that the new token is to have. The maker's rate and expiry do
/// not limit the new token, because the maker can make any number of tokens.
///
/// # Errors
/// 403 if it may not.
pub(super) fn check_given(new: &NewToken, maker: &Token) -> Result<(), Problem> {
    let refused = |detail: String| Err(Problem::new(ProblemKind::BeyondToken, detail));
    if new.scopes.contains(&Scope::Operator) {
        return refused("tokens with the scope operator are made on the command line".to_owned());
    }
    if let Some(scope) = new.scopes.iter().find(|scope| !maker.allows(**scope)) {
        return refused(format!("the token that makes it lacks the scope {scope} itself"));
    }
    if !maker.binding.covers(&new.binding) {
        return refused(
            "the token that makes it is bound, and this one is to be bound as well".to_owned(),
        );
    }
    Ok(())
}
