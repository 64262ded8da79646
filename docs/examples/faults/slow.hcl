# Every seal request takes 5 seconds longer: a network path that is about to die.
fault "slow" {
  on    = ["encrypt", "decrypt"]
  delay = "5s"
}
