"""The text in tables: taken out as rows, and put back, all other columns left as they are."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa


def text_rows(batch: "pa.RecordBatch") -> list[dict[str, Any]]:
    """Returns the rows of a batch with the columns that hold text, at whatever depth.

    Raises:
      UnicodeDecodeError: on text that is not UTF-8, which parquet does not check.
    """
    names = [field.name for field in batch.schema if _holds_text(field.type)]
    # Of no columns there would be no rows.
    return batch.select(names).to_pylist() if names else [{} for _ in range(len(batch))]


def with_text(batch: "pa.RecordBatch", rows: Sequence[Mapping[str, Any]]) -> "pa.RecordBatch":
    """Returns a batch with the values of `rows` in the columns that hold text; the inverse of `text_rows`."""
    import pyarrow as pa

    arrays = []
    for field in batch.schema:
        array = batch.column(field.name)
        if _holds_text(field.type):
            values = [row[field.name] for row in rows]
            storage = field.type.storage_type if isinstance(field.type, pa.BaseExtensionType) else field.type
            changed = pa.array(values, type=storage)
            array = changed if storage == field.type else pa.ExtensionArray.from_storage(field.type, changed)
        arrays.append(array)
    return pa.RecordBatch.from_arrays(arrays, schema=batch.schema)


def _holds_text(type_: "pa.DataType") -> bool:
    import pyarrow as pa

    types = pa.types
    if types.is_string(type_) or types.is_large_string(type_) or types.is_string_view(type_):
        return True
    if isinstance(type_, pa.BaseExtensionType):
        return _holds_text(type_.storage_type)
    if types.is_dictionary(type_) or isinstance(type_, pa.ListType | pa.LargeListType | pa.FixedSizeListType):
        return _holds_text(type_.value_type)
    if types.is_map(type_):
        return _holds_text(type_.key_type) or _holds_text(type_.item_type)
    return types.is_struct(type_) and any(_holds_text(field.type) for field in type_)
