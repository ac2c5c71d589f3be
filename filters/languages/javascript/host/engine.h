// The engine of a filter in JavaScript.
#pragma once

#include "quickjs.h"

// The functions of the host, as an object.
JSValue host_functions(JSContext *js);

// Runs what promises have left to do. An exception in there ends the VM.
void run_jobs(JSContext *js);
