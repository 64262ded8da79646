# Nothing at all.
#! 1:1: nothing goes wrong here: set "fault" or "seal_fault"
