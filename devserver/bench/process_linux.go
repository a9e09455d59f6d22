package main

import (
	"os/exec"
	"syscall"
)

// dieWithUs ends the program when the bench ends in whatever way.
func dieWithUs(cmd *exec.Cmd) {
	attr := syscall.SysProcAttr{}
	if cmd.SysProcAttr != nil {
		attr = *cmd.SysProcAttr
	}
	attr.Pdeathsig = syscall.SIGKILL
	cmd.SysProcAttr = &attr
}
