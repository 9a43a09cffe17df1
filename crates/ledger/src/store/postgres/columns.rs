//! Rows as one array for each column: `INSERT … SELECT FROM unnest(…)` writes thousands of rows in one round trip, and each value
//! is copied once, into the format in which it is sent.

use std::error::Error;

use bytes::{BufMut, BytesMut};
use tokio_postgres::types::{IsNull, ToSql, Type as Oid, to_sql_checked};

use crate::store::{Insert, Type, Value};

/// The statement that inserts [`Columns`].
pub(super) fn statement(into: &Insert) -> String {
    let arrays: Vec<String> = (1..)
        .zip(into.columns)
        .map(|(i, (_, kind))| {
            let name = match kind {
                Type::Int => "bigint",
                Type::Text => "text",
                Type::Bytes => "bytea",
            };
            format!("${i}::{name}[]")
        })
        .collect();
    format!("{} SELECT * FROM unnest({}) {}", into.head(), arrays.join(", "), into.conflict)
}

/// Rows of one table.
#[derive(Debug)]
pub(super) struct Columns {
    columns: Vec<Column>,
    rows: usize,
}

/// An array in Postgres's binary format (`array_recv` in its source): each value follows its length.
#[derive(Debug)]
struct Column {
    kind: Type,
    count: i32,
    has_null: bool,
    values: BytesMut,
}

impl Columns {
    pub(super) fn new(into: &Insert) -> Self {
        let column = |&(_, kind): &(_, Type)| Column { kind, count: 0, has_null: false, values: BytesMut::new() };
        Self { columns: into.columns.iter().map(column).collect(), rows: 0 }
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn bytes(&self) -> usize {
        self.columns.iter().map(|column| column.values.len()).sum()
    }

    pub(super) fn push(&mut self, row: &[Value<'_>]) {
        assert_eq!(row.len(), self.columns.len(), "a value for every column");
        for (column, value) in self.columns.iter_mut().zip(row) {
            column.push(*value);
        }
        self.rows += 1;
    }

    pub(super) fn clear(&mut self) {
        for column in &mut self.columns {
            column.values.clear();
            (column.count, column.has_null) = (0, false);
        }
        self.rows = 0;
    }

    pub(super) fn pointers(&self) -> Vec<&(dyn ToSql + Sync)> {
        self.columns.iter().map(|column| column as &(dyn ToSql + Sync)).collect()
    }
}

impl Column {
    fn push(&mut self, value: Value<'_>) {
        self.count += 1;
        let mut bytes = |bytes: &[u8]| {
            self.values.put_i32(length(bytes.len()));
            self.values.put_slice(bytes);
        };
        match (value, self.kind) {
            (Value::Int(int), Type::Int) => bytes(&int.to_be_bytes()),
            (Value::Text(text), Type::Text) => bytes(text.as_bytes()),
            (Value::Bytes(value), Type::Bytes) => bytes(value),
            (Value::Null, _) => {
                self.values.put_i32(-1);
                self.has_null = true;
            }
            (value, kind) => unreachable!("{value:?} in a column of {kind:?}"),
        }
    }
}

fn length(bytes: usize) -> i32 {
    i32::try_from(bytes).expect("a value is no longer than its frame")
}

impl ToSql for Column {
    fn to_sql(&self, _: &Oid, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        let of = match self.kind {
            Type::Int => Oid::INT8,
            Type::Text => Oid::TEXT,
            Type::Bytes => Oid::BYTEA,
        };
        // The number of dimensions, whether there are NULLs, the type, the number of values, the first index.
        out.put_i32(1);
        out.put_i32(i32::from(self.has_null));
        out.put_u32(of.oid());
        out.put_i32(self.count);
        out.put_i32(1);
        out.put_slice(&self.values);
        Ok(IsNull::No)
    }

    fn accepts(ty: &Oid) -> bool {
        [Oid::INT8_ARRAY, Oid::TEXT_ARRAY, Oid::BYTEA_ARRAY].contains(ty)
    }

    to_sql_checked!();
}

impl ToSql for Value<'_> {
    fn to_sql(&self, ty: &Oid, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match self {
            Self::Null => Ok(IsNull::Yes),
            Self::Int(int) => int.to_sql_checked(ty, out),
            Self::Text(text) => text.to_sql_checked(ty, out),
            Self::Bytes(bytes) => bytes.to_sql_checked(ty, out),
        }
    }

    fn accepts(_: &Oid) -> bool {
        true
    }

    to_sql_checked!();
}
