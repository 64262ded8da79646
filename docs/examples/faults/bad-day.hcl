# A bad day, the same at each run by its seed: a tenth of all requests fails, a fifth takes longer,
# and the master key throttles every third unwrap.
seed = 20261127

fault "fails" {
  on          = ["encrypt", "decrypt", "renew-self"]
  probability = 0.1
  status      = 503
}
fault "late" {
  on          = ["encrypt", "decrypt", "renew-self"]
  probability = 0.2
  delay       = "1s"
}
seal_fault "throttled" {
  on     = ["unwrap"]
  every  = 3
  answer = "throttled"
}
