"""Where files are: on the disk, in tar and parquet files, behind addresses. The one place where names become bytes."""
