# SPDX-License-Identifier: Apache-2.0
# What clgaze is built with.  Each message names the Debian package to install.

find_package(OpenCL 1.2 QUIET)
if(NOT TARGET OpenCL::OpenCL)
    message(FATAL_ERROR "OpenCL was not found: install ocl-icd-opencl-dev and opencl-headers")
endif()

set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads QUIET)
if(NOT TARGET Threads::Threads)
    message(FATAL_ERROR "POSIX threads were not found: install libc6-dev")
endif()

if(CLGAZE_WITH_CLBLAST)
    find_package(CLBlast CONFIG QUIET)
    if(NOT TARGET clblast)
        message(FATAL_ERROR
                "CLBlast was not found: install libclblast-dev, or configure with -DCLGAZE_WITH_CLBLAST=OFF")
    endif()
endif()

# clgaze_need(NAME HEADER PACKAGE): a library of the programs and tests, as the
# target clgaze_NAME.
function(clgaze_need name header package)
    if(TARGET clgaze_${name})
        return()
    endif()
    find_path(CLGAZE_${name}_INCLUDE ${header})
    find_library(CLGAZE_${name}_LIBRARY ${name})
    mark_as_advanced(CLGAZE_${name}_INCLUDE CLGAZE_${name}_LIBRARY)
    if(NOT CLGAZE_${name}_INCLUDE OR NOT CLGAZE_${name}_LIBRARY)
        message(FATAL_ERROR
                "${name} was not found: install ${package}, or switch off CLGAZE_BUILD_TESTS, "
                "CLGAZE_BUILD_BENCH, CLGAZE_BUILD_TOOLS and CLGAZE_BUILD_EXAMPLES")
    endif()
    add_library(clgaze_${name} INTERFACE)
    target_include_directories(clgaze_${name} SYSTEM INTERFACE ${CLGAZE_${name}_INCLUDE})
    target_link_libraries(clgaze_${name} INTERFACE ${CLGAZE_${name}_LIBRARY})
endfunction()
