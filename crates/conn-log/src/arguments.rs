//! The command line. Every flag has an environment variable; a flag wins over its variable.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand, ValueEnum};
use conn_log_api::Origin;
use conn_log_store::{DatabaseUrl, DatabaseUrlError, PartitionSize, Scope};
use ipnet::IpNet;
use uuid::Uuid;

/// A connection log: events between devices and applications, registered durably, read back
/// exactly. Without a command it serves.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Arguments {
    /// What to log, as env_logger takes it: a level, or target=level,…
    #[arg(long, env = "CONN_LOG_LOG", default_value = "info,actix_server=warn", global = true)]
    pub(crate) log: String,

    #[command(subcommand)]
    command: Option<Command>,
}

impl Arguments {
    /// The command. Without one it is to serve, as the environment says.
    pub(crate) fn command(self) -> Command {
        self.command.unwrap_or_else(|| Command::Serve(Serve::parse_from(["conn-log"])))
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve the API; applies migrations first
    Serve(Serve),
    /// Apply the migrations that the database lacks
    Migrate {
        /// Then put the tables where they belong on Citus: on a new log, on one that has events,
        /// and after an upgrade. Stop the servers of the log first
        #[arg(long, env = "CONN_LOG_CITUS")]
        citus: bool,
        #[command(flatten)]
        database: Database,
    },
    /// Rebuild derived data from the log: presence, sessions, statistics or the index
    Rebuild {
        /// presence, sessions, statistics or index
        name: String,
        /// Only the log of this tenant; every log if absent
        #[arg(long, env = "CONN_LOG_TENANT")]
        tenant: Option<String>,
        #[command(flatten)]
        database: Database,
    },
    /// Make, list and revoke tokens
    Token {
        #[command(subcommand)]
        command: TokenCommand,
    },
    /// Make the starter rules
    Rules {
        #[command(subcommand)]
        command: RulesCommand,
    },
    /// Make and list tenants
    Tenant {
        #[command(subcommand)]
        command: TenantCommand,
    },
}

/// The database.
#[derive(Args, Clone, Debug)]
pub(crate) struct Database {
    /// sqlite://path/to/file.db (sqlite:///absolute/path.db) or postgres://user@host/database
    #[arg(
        id = "database-url",
        long,
        env = "CONN_LOG_DATABASE_URL",
        default_value = "sqlite://data/conn-log.db",
        hide_env_values = true,
        value_name = "URL"
    )]
    argument: DatabaseArgument,
}

impl Database {
    /// The URL, or the error in it.
    pub(crate) fn url(&self) -> anyhow::Result<DatabaseUrl> {
        self.argument.0.clone().context("--database-url (CONN_LOG_DATABASE_URL)")
    }
}

/// Keeps a parse error as a value: clap's own message would show the URL with its password.
#[derive(Clone, Debug)]
struct DatabaseArgument(Result<DatabaseUrl, DatabaseUrlError>);

impl FromStr for DatabaseArgument {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(DatabaseArgument(text.parse()))
    }
}

/// The settings of the server.
#[derive(Clone, Debug, Parser)]
pub(crate) struct Serve {
    #[command(flatten)]
    pub(crate) database: Database,

    /// The address to listen on
    #[arg(long, env = "CONN_LOG_LISTEN", default_value = "127.0.0.1:8080", value_name = "ADDR")]
    pub(crate) listen: SocketAddr,

    /// Also take this connection type (repeatable; comma-separated in the variable)
    #[arg(long, env = "CONN_LOG_CONNECTION_TYPES", value_delimiter = ',', value_name = "NAME",
        value_parser = vocabulary_name)]
    pub(crate) connection_type: Vec<String>,

    /// Also take this status (repeatable; comma-separated in the variable)
    #[arg(long, env = "CONN_LOG_STATUSES", value_delimiter = ',', value_name = "NAME",
        value_parser = vocabulary_name)]
    pub(crate) status: Vec<String>,

    /// Also redact metadata under this name (repeatable; comma-separated in the variable)
    #[arg(long, env = "CONN_LOG_SENSITIVE_KEYS", value_delimiter = ',', value_name = "NAME")]
    pub(crate) sensitive_key: Vec<String>,

    /// Events that a request may hold
    #[arg(long, env = "CONN_LOG_EVENTS_MAX", default_value_t = 10_000, value_name = "N",
        value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=100_000))]
    pub(crate) events_max: usize,

    /// Mebibytes that a body may have as sent
    #[arg(long, env = "CONN_LOG_BODY_MIB_MAX", default_value_t = 16, value_name = "MIB",
        value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=1024))]
    pub(crate) body_mib_max: usize,

    /// Mebibytes that a body may have after decompression
    #[arg(long, env = "CONN_LOG_DECODED_MIB_MAX", default_value_t = 64, value_name = "MIB",
        value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=1024))]
    pub(crate) decoded_mib_max: usize,

    /// How long a body may pause on its way, such as 10s
    #[arg(long, env = "CONN_LOG_BODY_PAUSE_MAX", default_value = "10s", value_name = "TIME",
        value_parser = humantime::parse_duration)]
    pub(crate) body_pause_max: Duration,

    /// How long a request's head may take to arrive, such as 10s
    #[arg(long, env = "CONN_LOG_HEAD_TIME_MAX", default_value = "10s", value_name = "TIME",
        value_parser = humantime::parse_duration)]
    pub(crate) head_time_max: Duration,

    /// Time limit for a client that reads nothing of its answer, such as 30s
    #[arg(long, env = "CONN_LOG_ANSWER_PAUSE_MAX", default_value = "30s", value_name = "TIME",
        value_parser = humantime::parse_duration)]
    pub(crate) answer_pause_max: Duration,

    /// How long an idle connection is kept open, such as 75s
    #[arg(long, env = "CONN_LOG_KEEP_ALIVE", default_value = "75s", value_name = "TIME",
        value_parser = humantime::parse_duration)]
    pub(crate) keep_alive: Duration,

    /// Events per second for a token without its own rate; unlimited if absent
    #[arg(long, env = "CONN_LOG_RATE", value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rate: Option<u32>,

    /// Maximum burst of events for such a token; the events of one second if absent
    #[arg(long, env = "CONN_LOG_BURST", value_name = "N", requires = "rate",
        value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) burst: Option<u32>,

    /// Failed authentications that one address may have in a minute
    #[arg(long, env = "CONN_LOG_AUTH_FAILURES", default_value = "600", value_name = "N")]
    pub(crate) auth_failures_per_minute: NonZeroU32,

    /// A proxy, as an address or CIDR block, whose Forwarded or X-Forwarded-For is believed
    /// (repeatable; comma-separated in the variable)
    #[arg(long, env = "CONN_LOG_TRUSTED_PROXIES", value_delimiter = ',', value_name = "CIDR",
        value_parser = network)]
    pub(crate) trusted_proxy: Vec<IpNet>,

    /// An origin whose browser pages may use the API, such as `https://app.example.org` (repeatable;
    /// comma-separated in the variable)
    #[arg(long, env = "CONN_LOG_CORS_ORIGIN", value_delimiter = ',', value_name = "ORIGIN")]
    pub(crate) cors_origin: Vec<Origin>,

    /// An inside address or CIDR block that webhooks may call (repeatable; comma-separated in the
    /// variable); only global addresses if absent
    #[arg(long, env = "CONN_LOG_WEBHOOK_ALLOW", value_delimiter = ',', value_name = "CIDR",
        value_parser = network)]
    pub(crate) webhook_allow: Vec<IpNet>,

    /// Maximum number of queued events; when the queue is full, requests get a 503
    #[arg(long, env = "CONN_LOG_QUEUE_EVENTS_MAX", default_value_t = 100_000, value_name = "N",
        value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=10_000_000))]
    pub(crate) queue_events_max: usize,

    /// The time span of one partition of events on PostgreSQL
    #[arg(long, env = "CONN_LOG_PARTITION", default_value = "month", value_name = "SPAN")]
    pub(crate) partition: Partition,

    /// Start on a log that has lost events, and go on without them
    #[arg(long, env = "CONN_LOG_ACCEPT_LOST_EVENTS")]
    pub(crate) accept_lost_events: bool,

    /// How long an idempotency key is remembered, such as 24h
    #[arg(long, env = "CONN_LOG_IDEMPOTENCY_WINDOW", default_value = "24h", value_name = "TIME",
        value_parser = humantime::parse_duration)]
    pub(crate) idempotency_window: Duration,

    /// How long an event_id is remembered, such as 24h
    #[arg(long, env = "CONN_LOG_EVENT_ID_WINDOW", default_value = "24h", value_name = "TIME",
        value_parser = humantime::parse_duration)]
    pub(crate) event_id_window: Duration,

    /// Time after the last event until an open session has ended, such as 30m; no timeout if absent
    #[arg(long, env = "CONN_LOG_SESSION_TIMEOUT", value_name = "TIME",
        value_parser = humantime::parse_duration)]
    pub(crate) session_timeout: Option<Duration>,
}

/// The time span of a partition.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Partition {
    Day,
    Week,
    Month,
}

impl From<Partition> for PartitionSize {
    fn from(partition: Partition) -> Self {
        match partition {
            Partition::Day => PartitionSize::Day,
            Partition::Week => PartitionSize::Week,
            Partition::Month => PartitionSize::Month,
        }
    }
}

/// Configured names follow the rules of the built-in names.
fn vocabulary_name(name: &str) -> Result<String, &'static str> {
    let plain = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if plain && (1..=64).contains(&name.len()) {
        Ok(name.to_owned())
    } else {
        Err("a name has 1 to 64 of the characters a-z, 0-9 and _")
    }
}

/// A name for people. Lists show one name per line.
fn label(name: &str) -> Result<String, &'static str> {
    let plain = !name.contains(char::is_control) && name.trim() == name;
    if plain && (1..=255).contains(&name.chars().count()) {
        Ok(name.to_owned())
    } else {
        Err("a name has 1 to 255 characters, no control characters and no space around it")
    }
}

fn network(text: &str) -> Result<IpNet, &'static str> {
    let address = text.parse::<IpAddr>().map(IpNet::from);
    address.or_else(|_| text.parse()).map_err(|_| "an address or a CIDR block such as 10.0.0.0/8")
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a token; prints it, and nothing else, on stdout
    Create(TokenCreate),
    /// List the tokens: id, tenant, name, scopes, expiry, state, device, application
    List(Database),
    /// Revoke a token
    Revoke {
        /// The token's id, from the list
        id: Uuid,
        #[command(flatten)]
        database: Database,
    },
}

#[derive(Args, Debug)]
pub(crate) struct TokenCreate {
    #[command(flatten)]
    pub(crate) database: Database,

    /// What the token is for
    #[arg(long, env = "CONN_LOG_TOKEN_NAME", value_parser = label)]
    pub(crate) name: String,

    /// The scopes: write, read, admin or operator (repeatable; comma-separated in the variable)
    #[arg(
        long,
        env = "CONN_LOG_TOKEN_SCOPES",
        required = true,
        value_delimiter = ',',
        value_name = "SCOPE"
    )]
    pub(crate) scope: Vec<Scope>,

    /// The tenant whose log the token gives access to
    #[arg(long, env = "CONN_LOG_TENANT", default_value = "default")]
    pub(crate) tenant: String,

    /// How long the token is valid, such as 90d; until it is revoked if absent
    #[arg(long, env = "CONN_LOG_TOKEN_EXPIRES", value_name = "TIME",
        value_parser = humantime::parse_duration)]
    pub(crate) expires: Option<Duration>,

    /// Events per second for this token; the server's default if absent
    #[arg(long, env = "CONN_LOG_TOKEN_RATE", value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rate: Option<u32>,

    /// Maximum burst of events; the events of one second if absent
    #[arg(long, env = "CONN_LOG_TOKEN_BURST", value_name = "N", requires = "rate",
        value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) burst: Option<u32>,

    /// The only device that it may register events of; such events may leave the device out
    #[arg(long, env = "CONN_LOG_TOKEN_DEVICE_ID", value_name = "DEVICE", value_parser = label)]
    pub(crate) device_id: Option<String>,

    /// The only application that it may register events of; such events may leave the application out
    #[arg(long, env = "CONN_LOG_TOKEN_APPLICATION_ID", value_name = "APPLICATION",
        value_parser = label)]
    pub(crate) application_id: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RulesCommand {
    /// Make the starter rules that are missing, by their names; prints those names
    Install {
        /// The tenant whose log they watch
        #[arg(long, env = "CONN_LOG_TENANT", default_value = "default")]
        tenant: String,
        #[command(flatten)]
        database: Database,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum TenantCommand {
    /// Make a tenant: a log of its own
    Create {
        /// Its name
        #[arg(value_parser = label)]
        name: String,
        #[command(flatten)]
        database: Database,
    },
    /// List the tenants
    List(Database),
}
