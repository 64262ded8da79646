fault "counts" {
  status = 503
  nth    = 0
  every  = 2
  first  = 3
}
fault "chances" {
  status      = 503
  probability = 1.5
  first       = 1
}
fault "window" {
  status = 503
  from   = "2s"
  until  = "2s"
}
fault "cycle" {
  status = 503
  until  = "2s"
  repeat = "2s"
}
fault "endless" {
  status = 503
  repeat = "2s"
}
#! 3:12: field "nth": counted from 1
#! 5:12: "every" and "first" exclude each other
#! 9:17: field "probability": must be above 0 and at most 1
#! 15:12: field "until": must be later than "from"
#! 20:12: field "repeat": must be later than "until"
#! 24:12: "repeat" needs "until"
