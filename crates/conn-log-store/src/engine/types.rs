//! The column types that the two databases store differently, and their values.
//!
//! | type | SQLite | PostgreSQL | value |
//! | --- | --- | --- | --- |
//! | [`Instant`] | microseconds since 1970, INTEGER | timestamptz | [`Micros`] |
//! | [`JsonObject`] | TEXT | jsonb | [`JsonText`], RFC 8785 canonical both ways |
//! | [`Address`] | BLOB: a family byte (4 or 6), then the address | inet | [`Ip`] |
//! | [`Unique`] | TEXT | uuid | [`Guid`] |
//!
//! Nothing here knows a table.

use std::borrow::Cow;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use conn_log_core::Timestamp;
use diesel::backend::Backend;
use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::expression::AsExpression;
use diesel::pg::{Pg, PgValue};
use diesel::query_builder::QueryId;
use diesel::serialize::{self, IsNull, Output, ToSql};
use diesel::sql_types::{HasSqlType, SqlType};
use diesel::sqlite::{Sqlite, SqliteValue};
use uuid::Uuid;

use super::connection::MultiBackend;

/// An instant.
#[derive(Clone, Copy, Debug, Default, SqlType, QueryId)]
#[diesel(sqlite_type(name = "Long"), postgres_type(oid = 1184, array_oid = 1185))]
pub struct Instant;

/// A JSON object.
#[derive(Clone, Copy, Debug, Default, SqlType, QueryId)]
#[diesel(sqlite_type(name = "Text"), postgres_type(oid = 3802, array_oid = 3807))]
pub struct JsonObject;

/// An IP address.
#[derive(Clone, Copy, Debug, Default, SqlType, QueryId)]
#[diesel(sqlite_type(name = "Binary"), postgres_type(oid = 869, array_oid = 1041))]
pub struct Address;

/// A UUID.
#[derive(Clone, Copy, Debug, Default, SqlType, QueryId)]
#[diesel(sqlite_type(name = "Text"), postgres_type(oid = 2950, array_oid = 2951))]
pub struct Unique;

/// Value of an [`Instant`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, AsExpression, FromSqlRow)]
#[diesel(sql_type = Instant)]
pub(crate) struct Micros(pub(crate) Timestamp);

/// Value of a [`JsonObject`], as canonical text.
#[derive(Clone, Debug, AsExpression, FromSqlRow)]
#[diesel(sql_type = JsonObject)]
pub(crate) struct JsonText<'a>(pub(crate) Cow<'a, str>);

/// Value of an [`Address`].
#[derive(Clone, Copy, Debug, AsExpression, FromSqlRow)]
#[diesel(sql_type = Address)]
pub(crate) struct Ip(pub(crate) IpAddr);

/// Value of a [`Unique`].
#[derive(Clone, Copy, Debug, AsExpression, FromSqlRow)]
#[diesel(sql_type = Unique)]
pub(crate) struct Guid(pub(crate) Uuid);

/// Implements a type for both databases.
macro_rules! on_either_database {
    ($sql_type:ident, $value:ty) => {
        impl HasSqlType<$sql_type> for MultiBackend {
            fn metadata(lookup: &mut Self::MetadataLookup) -> Self::TypeMetadata {
                Self::lookup_sql_type::<$sql_type>(lookup)
            }
        }

        impl FromSql<$sql_type, MultiBackend> for $value {
            fn from_sql(
                value: <MultiBackend as Backend>::RawValue<'_>,
            ) -> deserialize::Result<Self> {
                value.from_sql::<Self, $sql_type>()
            }
        }

        impl ToSql<$sql_type, MultiBackend> for $value {
            fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, MultiBackend>) -> serialize::Result {
                out.set_value(($sql_type, self));
                Ok(IsNull::No)
            }
        }
    };
}

on_either_database!(Instant, Micros);
on_either_database!(JsonObject, JsonText<'static>);
on_either_database!(Address, Ip);
on_either_database!(Unique, Guid);

/// PostgreSQL counts microseconds from 2000-01-01.
const POSTGRES_EPOCH_MICROS: i64 = 946_684_800_000_000;

impl ToSql<Instant, Sqlite> for Micros {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Sqlite>) -> serialize::Result {
        out.set_value(self.0.micros());
        Ok(IsNull::No)
    }
}

impl FromSql<Instant, Sqlite> for Micros {
    fn from_sql(mut value: SqliteValue<'_, '_, '_>) -> deserialize::Result<Self> {
        Ok(Micros(Timestamp::from_micros(value.read_long())))
    }
}

impl ToSql<Instant, Pg> for Micros {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        out.write_all(&(self.0.micros() - POSTGRES_EPOCH_MICROS).to_be_bytes())?;
        Ok(IsNull::No)
    }
}

impl FromSql<Instant, Pg> for Micros {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        let micros = i64::from_be_bytes(value.as_bytes().try_into()?);
        Ok(Micros(Timestamp::from_micros(micros.saturating_add(POSTGRES_EPOCH_MICROS))))
    }
}

impl ToSql<JsonObject, Sqlite> for JsonText<'_> {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Sqlite>) -> serialize::Result {
        out.set_value(self.0.as_ref());
        Ok(IsNull::No)
    }
}

impl FromSql<JsonObject, Sqlite> for JsonText<'_> {
    fn from_sql(mut value: SqliteValue<'_, '_, '_>) -> deserialize::Result<Self> {
        Ok(JsonText(Cow::Owned(value.read_text().to_owned())))
    }
}

/// The only version of jsonb's binary form.
const JSONB_VERSION: u8 = 1;

impl ToSql<JsonObject, Pg> for JsonText<'_> {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        out.write_all(&[JSONB_VERSION])?;
        out.write_all(self.0.as_bytes())?;
        Ok(IsNull::No)
    }
}

/// jsonb changes the order of members and the form of numbers: the canonical text is made again.
impl FromSql<JsonObject, Pg> for JsonText<'_> {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        match value.as_bytes().split_first() {
            Some((&JSONB_VERSION, b"{}")) => Ok(JsonText(Cow::Borrowed("{}"))),
            Some((&JSONB_VERSION, text)) => {
                let canonical = serde_json_canonicalizer::pipe(std::str::from_utf8(text)?)?;
                Ok(JsonText(Cow::Owned(canonical)))
            }
            _ => Err("not a jsonb value".into()),
        }
    }
}

impl ToSql<Address, Sqlite> for Ip {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Sqlite>) -> serialize::Result {
        let mut bytes = Vec::with_capacity(17);
        match self.0 {
            IpAddr::V4(address) => {
                bytes.push(4);
                bytes.extend_from_slice(&address.octets());
            }
            IpAddr::V6(address) => {
                bytes.push(6);
                bytes.extend_from_slice(&address.octets());
            }
        }
        out.set_value(bytes);
        Ok(IsNull::No)
    }
}

impl FromSql<Address, Sqlite> for Ip {
    fn from_sql(mut value: SqliteValue<'_, '_, '_>) -> deserialize::Result<Self> {
        match value.read_blob().split_first() {
            Some((4, octets)) => Ok(Ip(ipv4(octets)?)),
            Some((6, octets)) => Ok(Ip(ipv6(octets)?)),
            _ => Err("not an address".into()),
        }
    }
}

/// PostgreSQL's numbers for the address families on every system: `PGSQL_AF_INET` and
/// `PGSQL_AF_INET6`.
const INET_V4: u8 = 2;
const INET_V6: u8 = 3;

/// Format: family, length of the network prefix, whether it is a cidr, length of the address,
/// address.
impl ToSql<Address, Pg> for Ip {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        match self.0 {
            IpAddr::V4(address) => {
                out.write_all(&[INET_V4, 32, 0, 4])?;
                out.write_all(&address.octets())?;
            }
            IpAddr::V6(address) => {
                out.write_all(&[INET_V6, 128, 0, 16])?;
                out.write_all(&address.octets())?;
            }
        }
        Ok(IsNull::No)
    }
}

impl FromSql<Address, Pg> for Ip {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        match value.as_bytes() {
            [INET_V4, 32, _, 4, octets @ ..] => Ok(Ip(ipv4(octets)?)),
            [INET_V6, 128, _, 16, octets @ ..] => Ok(Ip(ipv6(octets)?)),
            _ => Err("not a single address".into()),
        }
    }
}

fn ipv4(octets: &[u8]) -> deserialize::Result<IpAddr> {
    Ok(Ipv4Addr::from(<[u8; 4]>::try_from(octets)?).into())
}

fn ipv6(octets: &[u8]) -> deserialize::Result<IpAddr> {
    Ok(Ipv6Addr::from(<[u8; 16]>::try_from(octets)?).into())
}

impl ToSql<Unique, Sqlite> for Guid {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Sqlite>) -> serialize::Result {
        out.set_value(self.0.to_string());
        Ok(IsNull::No)
    }
}

impl FromSql<Unique, Sqlite> for Guid {
    fn from_sql(mut value: SqliteValue<'_, '_, '_>) -> deserialize::Result<Self> {
        Ok(Guid(Uuid::parse_str(value.read_text())?))
    }
}

impl ToSql<Unique, Pg> for Guid {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        out.write_all(self.0.as_bytes())?;
        Ok(IsNull::No)
    }
}

impl FromSql<Unique, Pg> for Guid {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        Ok(Guid(Uuid::from_slice(value.as_bytes())?))
    }
}
