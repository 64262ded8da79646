//! What the emulator promises, by its two ports alone.

#[cfg(test)]
mod client;
#[cfg(test)]
mod control;
#[cfg(test)]
mod entra;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod identity;
#[cfg(test)]
mod key_vault;
#[cfg(test)]
mod lifecycle;
#[cfg(test)]
mod process;
