audit "file" {
  file_path = "audit.log"
  mode      = "0666"
  log_raw   = true
}
audit "file" {
  path      = "a/b"
  file_path = "/var/log/audit.log"
}
audit "syslog" {
  facility = "LOCAL9"
  tag      = "a b"
  address  = "log"
}
audit "socket" {
  socket_type = "sctp"
  address     = "127.0.0.1:9090"
}
audit "socket" {
  path          = "other"
  address       = "collector:9090"
  write_timeout = 0
  hmac_accessor = false
}
audit "kafka" {
}
audit "syslog" {
}
audit "syslog" {
  checkpoint_interval = "2h"
}
listener "tcp" {
  tls_disable = true
}
seal "static" {
  current_key_id = "1"
  current_key    = "file:///keys/raw"
}
#! 1:7: audit lines are hashed and chained under a key: set "audit_key" (or "origin_key", from which one is derived)
#! 2:15: field "file_path": must be an absolute path
#! 3:15: field "mode": expected octal digits such as "0600", writable by the owner alone
#! 4:3: "log_raw" is not supported: secrets are never recorded in clear
#! 7:15: field "path": a name of 1 to 64 of the characters a-z A-Z 0-9 _ -
#! 11:14: field "facility": expected a syslog facility such as "AUTH" or "LOCAL0"
#! 12:14: field "tag": a name of 1 to 32 of the characters a-z A-Z 0-9 _ - . /
#! 13:14: field "address": must be an absolute path
#! 16:17: field "socket_type": there are "tcp", "udp" and "unix"
#! 21:19: field "address": expected IP:PORT, or an absolute path for socket_type "unix"
#! 22:19: field "write_timeout": must be from 1 s to 1 h
#! 23:3: "hmac_accessor" is not supported: accessors are always hashed
#! 25:7: audit type "kafka" does not exist: there are "file", "socket" and "syslog"
#! 29:7: an audit device "syslog" is declared already: give this one another "path"
#! 30:25: field "checkpoint_interval": must be from 1 s to 1 h
