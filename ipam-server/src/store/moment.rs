//! A point in time with the database's resolution.

use std::fmt::Write;
use std::time::Duration;

use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArgumentBuffer, PgHasArrayType, PgTypeInfo, PgValueFormat, PgValueRef};
use sqlx::sqlite::{SqliteArgumentsBuffer, SqliteTypeInfo, SqliteValueRef};
use sqlx::{Decode, Encode, Postgres, Sqlite, Type};
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

/// A `timestamptz` as text.
const POSTGRES: &[BorrowedFormatItem<'_>] = format_description!(
    "[year]-[month]-[day] [hour]:[minute]:[second][optional [.[subsecond]]][offset_hour sign:mandatory]"
);

/// Microseconds since 1970. `timestamptz` in PostgreSQL, an integer in SQLite.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Moment(pub(crate) i64);

impl Moment {
    /// The mark of never-used space.
    pub(crate) const NEVER: Self = Self(0);

    /// The first moment that an address can have been returned at: what begins here leaves out never-used space.
    pub(crate) const RETURNED: Self = Self(1);

    /// 2000, from which PostgreSQL counts.
    const POSTGRES_EPOCH: i64 = 946_684_800_000_000;
    /// The beginning of the year 1 and the end of the year 9999: what can be printed. What is beyond is `-infinity` and
    /// `infinity` in PostgreSQL.
    const EARLIEST: i64 = -62_135_596_800_000_000;
    const LATEST: i64 = 253_402_300_799_999_999;

    /// Later than anything that is stored.
    pub(crate) const LAST: Self = Self(Self::LATEST);

    /// The moment this much later.
    pub(crate) fn plus(self, duration: Duration) -> Self {
        let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(micros))
    }

    /// The moment this much earlier.
    pub(crate) fn minus(self, duration: Duration) -> Self {
        let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        Self(self.0.saturating_sub(micros))
    }

    /// How long the earlier moment has been over at this one; nothing when it is later.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        let micros = self.0.saturating_sub(earlier.0);
        Duration::from_micros(u64::try_from(micros).unwrap_or(0))
    }
}

impl From<OffsetDateTime> for Moment {
    fn from(time: OffsetDateTime) -> Self {
        Self(i64::try_from(time.unix_timestamp_nanos() / 1_000).unwrap_or(i64::MAX))
    }
}

impl From<Moment> for OffsetDateTime {
    fn from(moment: Moment) -> Self {
        let micros = moment.0.clamp(Moment::EARLIEST, Moment::LATEST);
        Self::from_unix_timestamp_nanos(i128::from(micros) * 1_000).unwrap_or(Self::UNIX_EPOCH)
    }
}

impl Type<Postgres> for Moment {
    fn type_info() -> PgTypeInfo {
        <OffsetDateTime as Type<Postgres>>::type_info()
    }
}

impl PgHasArrayType for Moment {
    fn array_type_info() -> PgTypeInfo {
        <OffsetDateTime as PgHasArrayType>::array_type_info()
    }
}

impl Encode<'_, Postgres> for Moment {
    fn encode_by_ref(&self, buf: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        let micros = match self.0 {
            before if before < Self::EARLIEST => i64::MIN,
            after if after > Self::LATEST => i64::MAX,
            micros => micros - Self::POSTGRES_EPOCH,
        };
        <i64 as Encode<Postgres>>::encode(micros, buf)
    }
}

impl Moment {
    /// Writes it as PostgreSQL reads it.
    pub(super) fn write_postgres(self, text: &mut String) {
        let name = match self.0 {
            before if before < Self::EARLIEST => "-infinity",
            after if after > Self::LATEST => "infinity",
            _ => {
                let at = OffsetDateTime::from(self);
                let (date, (hour, minute, second, micro)) = (at.date(), at.time().as_hms_micro());
                // A string takes all that there is.
                let _ = write!(
                    text,
                    "{:04}-{:02}-{:02}T{hour:02}:{minute:02}:{second:02}.{micro:06}Z",
                    date.year(),
                    u8::from(date.month()),
                    date.day()
                );
                return;
            }
        };
        text.push_str(name);
    }

    /// Reads what PostgreSQL writes (`DateStyle` ISO, time zone UTC, as sqlx sets them).
    fn read_postgres(text: &str) -> Result<Self, BoxDynError> {
        match text {
            "-infinity" => Ok(Self(i64::MIN)),
            "infinity" => Ok(Self(i64::MAX)),
            _ => Ok(OffsetDateTime::parse(text, POSTGRES)?.into()),
        }
    }
}

impl<'r> Decode<'r, Postgres> for Moment {
    fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
        if value.format() == PgValueFormat::Text {
            return Self::read_postgres(value.as_str()?);
        }
        let micros = <i64 as Decode<Postgres>>::decode(value)?;
        Ok(Self(match micros {
            i64::MIN | i64::MAX => micros,
            finite => finite + Self::POSTGRES_EPOCH,
        }))
    }
}

impl Type<Sqlite> for Moment {
    fn type_info() -> SqliteTypeInfo {
        <i64 as Type<Sqlite>>::type_info()
    }
}

impl Encode<'_, Sqlite> for Moment {
    fn encode_by_ref(&self, buf: &mut SqliteArgumentsBuffer) -> Result<IsNull, BoxDynError> {
        <i64 as Encode<Sqlite>>::encode(self.0, buf)
    }
}

impl<'r> Decode<'r, Sqlite> for Moment {
    fn decode(value: SqliteValueRef<'r>) -> Result<Self, BoxDynError> {
        <i64 as Decode<Sqlite>>::decode(value).map(Self)
    }
}
