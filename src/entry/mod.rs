//! Stored responses, and handlers' own values, as plain data.

mod packed;
#[cfg(feature = "redis")]
mod parts;
mod prepared;
mod prepared_list;
mod response;
mod times;
mod value;
mod variant_hints;
mod variants;
mod verdict;

pub(crate) use packed::{FieldWriter, PackedFields};
#[cfg(feature = "redis")]
pub(crate) use packed::{Layout, field_name, length_size, push_length, take_field, take_length};
#[cfg(feature = "redis")]
pub(crate) use parts::{ForeignParts, Unplaced};
pub(crate) use prepared::{Kept, ReplayStamp};
pub(crate) use prepared_list::PreparedList;
pub(crate) use response::Reuse;
pub use response::StoredResponse;
pub(crate) use times::Times;
pub use value::StoredValue;
pub(crate) use variant_hints::VariantHints;
#[cfg(feature = "redis")]
pub(crate) use variants::MOST_NAMES;
pub(crate) use variants::Variant;
pub use variants::Variants;
