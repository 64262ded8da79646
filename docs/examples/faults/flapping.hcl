# Down for 2 seconds, up for 2 seconds, and so on: a bad replica behind a load balancer, or an
# unsealer that is restarted again and again. Health says so too.
fault "flapping" {
  sealed = true
  until  = "2s"
  repeat = "4s"
}
