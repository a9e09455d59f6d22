package e2e

import (
	"os/exec"
	"syscall"
)

// dieWithUs ends the program when this test process ends in whatever way.
func dieWithUs(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
