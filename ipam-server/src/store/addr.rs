//! An address as a number, so that intervals are plain arithmetic in either family.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use ipnetwork::IpNetwork;
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArgumentBuffer, PgHasArrayType, PgTypeInfo, PgValueRef};
use sqlx::sqlite::{SqliteArgumentsBuffer, SqliteTypeInfo, SqliteValueRef};
use sqlx::{Decode, Encode, Postgres, Sqlite, Type};

/// An IPv4 or IPv6 address. IPv4 is kept as IPv4-mapped (`::ffff:a.b.c.d`), so that families never collide; mapped
/// addresses themselves are refused at the edge.
///
/// `inet` with full mask in PostgreSQL, 16 big-endian bytes in SQLite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Addr(pub(crate) u128);

impl Addr {
    /// Whether it is an IPv4 address.
    pub(crate) fn is_v4(self) -> bool {
        self.0 >> 32 == 0xffff
    }

    /// The next address; the highest stays as it is.
    pub(crate) fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The address before; the lowest stays as it is.
    pub(crate) fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }

    /// The lowest address of its family. PostgreSQL sorts all of IPv4 before all of IPv6.
    pub(crate) fn family_lowest(self) -> Self {
        Self(if self.is_v4() { 0xffff << 32 } else { 0 })
    }

    /// Its 16 bytes in hexadecimal: what SQLite's `unhex` reads out of a list.
    pub(crate) fn hex(self) -> String {
        format!("{:032x}", self.0)
    }

    /// With the prefix length that leaves the address alone.
    fn network(self) -> IpNetwork {
        IpNetwork::from(IpAddr::from(self))
    }
}

impl From<IpAddr> for Addr {
    fn from(address: IpAddr) -> Self {
        Self(match address {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().into(),
            IpAddr::V6(v6) => v6.into(),
        })
    }
}

impl From<Addr> for IpAddr {
    fn from(address: Addr) -> Self {
        let v6 = Ipv6Addr::from(address.0);
        v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4)
    }
}

impl fmt::Display for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        IpAddr::from(*self).fmt(f)
    }
}

impl Type<Postgres> for Addr {
    fn type_info() -> PgTypeInfo {
        <IpNetwork as Type<Postgres>>::type_info()
    }

    fn compatible(ty: &PgTypeInfo) -> bool {
        <IpNetwork as Type<Postgres>>::compatible(ty)
    }
}

impl PgHasArrayType for Addr {
    fn array_type_info() -> PgTypeInfo {
        <IpNetwork as PgHasArrayType>::array_type_info()
    }
}

impl Encode<'_, Postgres> for Addr {
    fn encode_by_ref(&self, buf: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        <IpNetwork as Encode<Postgres>>::encode_by_ref(&self.network(), buf)
    }
}

impl<'r> Decode<'r, Postgres> for Addr {
    fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
        <IpNetwork as Decode<Postgres>>::decode(value).map(|network| network.ip().into())
    }
}

impl Type<Sqlite> for Addr {
    fn type_info() -> SqliteTypeInfo {
        <Vec<u8> as Type<Sqlite>>::type_info()
    }
}

impl Encode<'_, Sqlite> for Addr {
    fn encode_by_ref(&self, buf: &mut SqliteArgumentsBuffer) -> Result<IsNull, BoxDynError> {
        <Vec<u8> as Encode<Sqlite>>::encode(self.0.to_be_bytes().to_vec(), buf)
    }
}

impl<'r> Decode<'r, Sqlite> for Addr {
    fn decode(value: SqliteValueRef<'r>) -> Result<Self, BoxDynError> {
        let bytes = <&[u8] as Decode<Sqlite>>::decode(value)?;
        Ok(Self(u128::from_be_bytes(bytes.try_into()?)))
    }
}
