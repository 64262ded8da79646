# Selkie is well and its master key is away: for 5 seconds nothing can be unwrapped.
seal_fault "away" {
  on     = ["unwrap"]
  answer = "away"
  until  = "5s"
}
