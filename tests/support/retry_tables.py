"""What has to be done about each error of each edge, written down independently of the edges."""

import errno

import apsw

from surefoot_client.record import LostReason
from surefoot_tools.retry import Next

LATER, FINAL, IN_DOUBT = Next.LATER, Next.FINAL, Next.IN_DOUBT

SPAWN: dict[int, Next] = {
    errno.ENOENT: FINAL,
    errno.ENOTDIR: FINAL,
    errno.EACCES: FINAL,
    errno.EPERM: FINAL,
    errno.ENOEXEC: FINAL,
    errno.E2BIG: FINAL,
    errno.ENOSPC: FINAL,
    errno.EDQUOT: FINAL,
    errno.EAGAIN: LATER,
    errno.ENOMEM: LATER,
    errno.EMFILE: LATER,
    errno.ENFILE: LATER,
    errno.ETXTBSY: LATER,
    errno.ETOOMANYREFS: LATER,
}
"""Starting a command: nothing has begun."""

FILES: dict[int, Next] = {
    errno.ENOENT: FINAL,
    errno.EXDEV: FINAL,
    errno.EACCES: FINAL,
    errno.EPERM: FINAL,
    errno.EROFS: FINAL,
    errno.ELOOP: FINAL,
    errno.ENAMETOOLONG: FINAL,
    errno.EILSEQ: FINAL,
    errno.EISDIR: FINAL,
    errno.ENOTDIR: FINAL,
    errno.ENXIO: FINAL,
    errno.ENOSPC: FINAL,
    errno.EDQUOT: FINAL,
    errno.EFBIG: FINAL,
    errno.EIO: FINAL,
    errno.EBUSY: LATER,
    errno.EAGAIN: LATER,
    errno.ETXTBSY: LATER,
    errno.ESTALE: LATER,
    errno.EMFILE: LATER,
    errno.ENFILE: LATER,
    errno.ENOMEM: LATER,
    errno.ENOLCK: LATER,
}
"""Before the rename, or with no effect at all. EIO never: it may come from fsync."""

SQLITE: dict[type[apsw.Error], tuple[Next, Next]] = {
    apsw.BusyError: (LATER, LATER),
    apsw.LockedError: (LATER, LATER),
    apsw.ProtocolError: (LATER, LATER),
    apsw.FullError: (FINAL, FINAL),
    apsw.NoMemError: (FINAL, LATER),
    apsw.IOError: (FINAL, LATER),
    apsw.CorruptError: (FINAL, LATER),
    apsw.NotADBError: (FINAL, LATER),
    apsw.ReadOnlyError: (FINAL, LATER),
    apsw.PermissionsError: (FINAL, LATER),
    apsw.CantOpenError: (FINAL, LATER),
    apsw.AuthError: (FINAL, LATER),
    apsw.ConstraintError: (FINAL, FINAL),
    apsw.SchemaChangeError: (FINAL, LATER),
    apsw.AbortError: (FINAL, LATER),
    apsw.SQLError: (FINAL, LATER),
    apsw.BindingsError: (FINAL, LATER),
    apsw.MismatchError: (FINAL, LATER),
    apsw.RangeError: (FINAL, LATER),
    apsw.TooBigError: (FINAL, LATER),
}
"""Before COMMIT, and at COMMIT: what SQLite does not exclude may have committed, and the next
attempt finds the inbox row or runs."""

POSTGRES: dict[str, tuple[Next, Next]] = {
    "40001": (LATER, LATER),  # serialization_failure
    "40P01": (LATER, LATER),  # deadlock_detected
    "55P03": (LATER, LATER),  # lock_not_available
    "40003": (LATER, LATER),  # statement_completion_unknown
    "40": (LATER, LATER),
    "57P01": (LATER, LATER),  # admin_shutdown
    "57P02": (LATER, LATER),  # crash_shutdown
    "57P03": (LATER, LATER),  # cannot_connect_now
    "57P05": (LATER, LATER),  # idle_session_timeout
    "08": (LATER, LATER),
    "53300": (LATER, LATER),  # too_many_connections
    "57014": (FINAL, FINAL),  # query_canceled
    "25P03": (FINAL, FINAL),  # idle_in_transaction_session_timeout
    "25P04": (FINAL, FINAL),  # transaction_timeout
    "53": (FINAL, FINAL),
    "54": (FINAL, FINAL),
    "22": (FINAL, FINAL),
    "23": (FINAL, FINAL),
    "25006": (FINAL, FINAL),  # read_only_sql_transaction
    "25001": (FINAL, FINAL),  # active_sql_transaction
    "25": (FINAL, FINAL),
    "28": (FINAL, FINAL),
    "2D": (FINAL, FINAL),
    "3D": (FINAL, FINAL),
    "42501": (FINAL, FINAL),  # insufficient_privilege
    "42": (FINAL, FINAL),
    "0A": (FINAL, FINAL),
    "55": (FINAL, FINAL),
    "P0": (FINAL, FINAL),
    "58": (FINAL, LATER),
    "XX001": (FINAL, LATER),  # data_corrupted
    "XX002": (FINAL, LATER),  # index_corrupted
    "XX": (FINAL, LATER),
}
"""By SQLSTATE or class: before COMMIT was sent, and as the server's answer to COMMIT. Where that is
no proof that nothing was committed, the next attempt finds the inbox row or runs."""

MYSQL: dict[str, tuple[Next, Next]] = {
    "1213": (LATER, LATER),  # ER_LOCK_DEADLOCK
    "1205": (LATER, LATER),  # ER_LOCK_WAIT_TIMEOUT
    "1020": (LATER, LATER),  # ER_CHECKREAD
    "1402": (LATER, LATER),  # ER_XA_RBROLLBACK
    "1613": (LATER, LATER),  # ER_XA_RBTIMEOUT
    "1614": (LATER, LATER),  # ER_XA_RBDEADLOCK
    "3101": (LATER, LATER),  # ER_TRANSACTION_ROLLBACK_DURING_COMMIT
    "3572": (LATER, LATER),  # ER_LOCK_NOWAIT
    "40": (LATER, LATER),
    "1040": (LATER, LATER),  # ER_CON_COUNT_ERROR
    "1047": (LATER, LATER),  # ER_UNKNOWN_COM_ERROR
    "1053": (LATER, LATER),  # ER_SERVER_SHUTDOWN
    "1203": (LATER, LATER),  # ER_TOO_MANY_USER_CONNECTIONS
    "1927": (LATER, LATER),  # ER_CONNECTION_KILLED
    "2002": (LATER, LATER),  # CR_CONNECTION_ERROR
    "2003": (LATER, LATER),  # CR_CONN_HOST_ERROR
    "2006": (LATER, LATER),  # CR_SERVER_GONE_ERROR
    "2013": (LATER, LATER),  # CR_SERVER_LOST
    "2055": (LATER, LATER),  # CR_SERVER_LOST_EXTENDED
    "4031": (LATER, LATER),  # ER_CLIENT_INTERACTION_TIMEOUT
    "08": (LATER, LATER),
    "1317": (FINAL, LATER),  # ER_QUERY_INTERRUPTED
    "1969": (FINAL, LATER),  # ER_STATEMENT_TIMEOUT
    "3024": (FINAL, LATER),  # ER_QUERY_TIMEOUT
    "1021": (FINAL, LATER),  # ER_DISK_FULL
    "1037": (FINAL, LATER),  # ER_OUTOFMEMORY
    "1038": (FINAL, LATER),  # ER_OUT_OF_SORTMEMORY
    "1041": (FINAL, LATER),  # ER_OUT_OF_RESOURCES
    "1114": (FINAL, LATER),  # ER_RECORD_FILE_FULL
    "1206": (FINAL, LATER),  # ER_LOCK_TABLE_FULL
    "1226": (FINAL, LATER),  # ER_USER_LIMIT_REACHED
    "1792": (FINAL, LATER),  # ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION
    "1399": (FINAL, LATER),  # ER_XAER_RMFAIL
    "1044": (FINAL, LATER),  # ER_DBACCESS_DENIED_ERROR
    "1045": (FINAL, LATER),  # ER_ACCESS_DENIED_ERROR
    "1095": (FINAL, LATER),  # ER_KILL_DENIED_ERROR
    "1142": (FINAL, LATER),  # ER_TABLEACCESS_DENIED_ERROR
    "1143": (FINAL, LATER),  # ER_COLUMNACCESS_DENIED_ERROR
    "1227": (FINAL, LATER),  # ER_SPECIFIC_ACCESS_DENIED_ERROR
    "1290": (FINAL, LATER),  # ER_OPTION_PREVENTS_STATEMENT
    "1370": (FINAL, LATER),  # ER_PROCACCESS_DENIED_ERROR
    "1419": (FINAL, LATER),  # ER_BINLOG_CREATE_ROUTINE_NEED_SUPER
    "1836": (FINAL, LATER),  # ER_READ_ONLY_MODE
    "4166": (FINAL, LATER),  # ER_LOAD_INFILE_CAPABILITY_DISABLED
    "28": (FINAL, LATER),
    "1048": (FINAL, LATER),  # ER_BAD_NULL_ERROR
    "1364": (FINAL, LATER),  # ER_NO_DEFAULT_FOR_FIELD
    "3819": (FINAL, LATER),  # ER_CHECK_CONSTRAINT_VIOLATED
    "4025": (FINAL, LATER),  # ER_CONSTRAINT_FAILED
    "23": (FINAL, LATER),
    "45": (FINAL, LATER),
    "1049": (FINAL, LATER),  # ER_BAD_DB_ERROR
    "1153": (FINAL, LATER),  # ER_NET_PACKET_TOO_LARGE
    "1210": (FINAL, LATER),  # ER_WRONG_ARGUMENTS
    "1235": (FINAL, LATER),  # ER_NOT_SUPPORTED_YET
    "1295": (FINAL, LATER),  # ER_UNSUPPORTED_PS
    "1366": (FINAL, LATER),  # ER_TRUNCATED_WRONG_VALUE_FOR_FIELD
    "21": (FINAL, LATER),
    "22": (FINAL, LATER),
    "42": (FINAL, LATER),
    "1030": (FINAL, LATER),  # ER_GET_ERRNO
    "1180": (FINAL, LATER),  # ER_ERROR_DURING_COMMIT
    "1034": (FINAL, LATER),  # ER_NOT_KEYFILE
    "1035": (FINAL, LATER),  # ER_OLD_KEYFILE
    "1194": (FINAL, LATER),  # ER_CRASHED_ON_USAGE
    "1195": (FINAL, LATER),  # ER_CRASHED_ON_REPAIR
}
"""By number or class: before COMMIT was sent, and as the answer to COMMIT. Where that does not say
that the transaction was rolled back, the next attempt finds the inbox row or runs."""

LOST: dict[LostReason, tuple[Next, Next]] = {
    LostReason.TIMEOUT: (LATER, IN_DOUBT),
    LostReason.CLOSED: (LATER, IN_DOUBT),
    LostReason.DROPPED: (LATER, IN_DOUBT),
    LostReason.UNREADABLE: (LATER, IN_DOUBT),
    LostReason.UNREACHABLE: (LATER, LATER),
    LostReason.INTERRUPTED: (LATER, IN_DOUBT),
}
"""A send without an answer: to a server that knows keys (or of a tool that may be repeated), and to
any other."""
