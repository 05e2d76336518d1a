//! Tenants and tokens.

use conn_log_core::{Binding, Timestamp};
use conn_log_store::{
    Handling, NewToken, OnReject, PageQuery, PageStart, Rate, Scope, Secret, StoreError, TenantId,
};
use conn_log_test_support::*;

fn new_token(name: &str) -> NewToken {
    NewToken {
        expires_at: Some(Timestamp::MAX),
        rate: Some(Rate { events_per_second: 100, burst_events: 500 }),
        binding: Binding { device_id: Some("dev".to_owned()), application_id: None },
        on_reject: Some(OnReject::Keep),
        handling: Some(Handling::Lenient),
        ..NewToken::new(DEFAULT, name, vec![Scope::Write, Scope::Read])
    }
}

on_both_databases! {
    async fn a_token_is_found_by_its_secret_until_it_is_revoked(db) {
        let store = db.open();
        let (token, secret) = store.token_create(new_token("sensor")).unwrap();
        let found = store.token_find(&secret.hash()).unwrap().unwrap();
        assert_eq!(found, token);
        assert_eq!(found.rate, new_token("").rate);
        assert_eq!(found.binding, new_token("").binding);
        assert_eq!((found.on_reject, found.handling), (Some(OnReject::Keep), Some(Handling::Lenient)));
        assert!(found.allows(Scope::Write) && !found.allows(Scope::Admin));
        assert!(found.is_valid_at(Timestamp::EPOCH) && !found.is_valid_at(Timestamp::MAX));

        let unknown = Secret::generate().unwrap();
        assert_eq!(store.token_find(&unknown.hash()).unwrap(), None);

        let revoked = store.token_revoke(Some(DEFAULT), token.id).unwrap();
        assert!(!revoked.is_valid_at(Timestamp::EPOCH));
        assert_eq!(store.token_find(&secret.hash()).unwrap(), Some(revoked.clone()));
        assert_eq!(store.token_revoke(None, token.id).unwrap(), revoked);
    }

    async fn a_token_of_another_tenant_is_not_there(db) {
        let store = db.open();
        let other = store.tenant_create("other").unwrap().id;
        let (token, _) = store.token_create(new_token("sensor")).unwrap();
        let refused = store.token_revoke(Some(other), token.id);
        assert!(matches!(refused, Err(StoreError::NotFound("token"))));
        assert_eq!(store.token_list(Some(other)).unwrap(), []);
        assert_eq!(store.token_list(Some(DEFAULT)).unwrap(), store.token_list(None).unwrap());
        let nowhere = NewToken { tenant: TenantId(77), ..new_token("lost") };
        assert!(matches!(store.token_create(nowhere), Err(StoreError::NotFound("tenant"))));
    }

    async fn a_tenant_s_tokens_are_listed_page_by_page_newest_first(db) {
        let store = db.open();
        let other = store.tenant_create("other").unwrap().id;
        store.token_create(NewToken { tenant: other, ..new_token("theirs") }).unwrap();
        let mut made: Vec<_> =
            (0..5).map(|n| store.token_create(new_token(&n.to_string())).unwrap().0).collect();
        // With equal times, tokens are sorted by their ids.
        db.execute("UPDATE tokens SET created_at = (SELECT created_at FROM tenants WHERE id = 1)");
        let time = store.tenant_list().unwrap()[0].created_at;
        made.iter_mut().for_each(|token| token.created_at = time);
        made.sort_by_key(|token| std::cmp::Reverse(token.id));

        let page = |start| store.token_page(DEFAULT, &PageQuery { start, limit: 2 }).unwrap();
        let first = page(PageStart::First);
        assert_eq!((&first.items[..], first.has_more), (&made[..2], true));
        let second = page(PageStart::After(made[1].place()));
        assert_eq!((&second.items[..], second.has_more), (&made[2..4], true));
        let last = page(PageStart::After(made[3].place()));
        assert_eq!((&last.items[..], last.has_more), (&made[4..], false));
        let back = page(PageStart::Before(made[4].place()));
        assert_eq!((&back.items[..], back.has_more), (&made[2..4], true));
        let start = page(PageStart::Before(made[2].place()));
        assert_eq!((&start.items[..], start.has_more), (&made[..2], false));
    }

    async fn a_tenant_has_a_hundred_thousand_tokens_and_ended_ones_give_way(db) {
        let store = db.open();
        let (first, _) = store.token_create(new_token("first")).unwrap();
        db.execute(match db.backend() {
            Backend::Sqlite => "WITH RECURSIVE n (n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM n WHERE n < 100000)
                INSERT INTO tokens (id, tenant_id, name, secret_hash, scopes, created_at)
                SELECT printf('00000000-0000-4000-8000-%012d', n), 1, 'more', CAST(n AS BLOB), 'read', created_at
                FROM n, tenants WHERE tenants.id = 1",
            Backend::Postgres => "INSERT INTO tokens (id, tenant_id, name, secret_hash, scopes, created_at)
                SELECT gen_random_uuid(), 1, 'more', n::text::bytea, 'read', created_at
                FROM generate_series(2, 100000) AS n, tenants WHERE tenants.id = 1",
        });
        let refused = store.token_create(new_token("one more"));
        assert!(matches!(refused, Err(StoreError::Full("token"))), "{refused:?}");
        let other = store.tenant_create("other").unwrap().id;
        assert!(store.token_create(NewToken { tenant: other, ..new_token("theirs") }).is_ok());

        store.token_revoke(None, first.id).unwrap();
        assert!(store.token_create(new_token("one more")).is_ok());
        assert!(matches!(store.token_revoke(None, first.id), Err(StoreError::NotFound("token"))));
        let refused = store.token_create(new_token("too many again"));
        assert!(matches!(refused, Err(StoreError::Full("token"))), "{refused:?}");
        db.execute("UPDATE tokens SET expires_at = created_at WHERE name = 'one more'");
        assert!(store.token_create(new_token("after its end")).is_ok());
    }

    async fn the_first_token_is_made_once_by_however_many_start(db) {
        let first = db.open();
        let second = db.open();
        let threads: Vec<_> = (0..8)
            .map(|n| {
                let store = if n % 2 == 0 { first.clone() } else { second.clone() };
                std::thread::spawn(move || store.first_token().unwrap())
            })
            .collect();
        let made: Vec<_> = threads.into_iter().filter_map(|t| t.join().unwrap()).collect();
        assert_eq!(made.len(), 1);
        assert_eq!(made[0].0.name, "first run");
        assert_eq!(made[0].0.scopes, [Scope::Write, Scope::Read, Scope::Admin]);
        assert_eq!(first.token_list(None).unwrap().len(), 1);
    }

    async fn sqlite_has_room_for_half_a_million_tenants(db) {
        let store = db.open();
        db.execute("INSERT INTO tenants (id, name, created_at)
            SELECT 524286, 'last but one', created_at FROM tenants WHERE id = 1");
        let last = store.tenant_create("last").unwrap().id;
        assert_eq!(ids(&append_to(&store, last, events("dev", 2)).await.unwrap()), [1, 2]);
        assert_eq!(whole_log(&store, last).len(), 2);
        let more = store.tenant_create("one more").map(|tenant| tenant.id.0);
        match db.backend() {
            Backend::Sqlite => assert!(matches!(more, Err(StoreError::Full("tenant"))), "{more:?}"),
            Backend::Postgres => assert_eq!(more.unwrap(), 524_288),
        }
    }

    async fn a_tenant_name_is_taken_once(db) {
        let store = db.open();
        let made = store.tenant_create("acme").unwrap();
        assert!(matches!(store.tenant_create("acme"), Err(StoreError::NameTaken("tenant"))));
        assert_eq!(store.tenant_find_by_name("acme").unwrap(), Some(made.clone()));
        assert_eq!(store.tenant_find_by_name("nobody").unwrap(), None);
        let names: Vec<String> = store.tenant_list().unwrap().into_iter().map(|t| t.name).collect();
        assert_eq!(names, ["default", "acme"]);
        assert_eq!(store.log_size(made.id).unwrap(), 0);
    }
}
