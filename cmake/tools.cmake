# The tools that look at the code without running it: format, format-check, tidy, cppcheck; and check, the short
# form of "may this be committed?". Files are listed when a target runs, so that a new one is never forgotten.
set(here ${PROJECT_SOURCE_DIR})
set(own_folders base http token login cache okta webhook portal proxy server)
list(TRANSFORM own_folders APPEND "/*.c" OUTPUT_VARIABLE own_sources)
list(JOIN own_sources "' '" own_sources)
set(every_source "git ls-files -z -co --exclude-standard -- '*.c' '*.h'")
# What was deleted but not committed yet is listed too; xargs would hand it to a tool that then fails.
set(that_exist "xargs -0 sh -c 'for f; do [ ! -e \"$f\" ] || printf \"%s\\\\0\" \"$f\"; done' sh")

# tools_target(name "what it does" COMMAND): a shell command that runs in the source directory.
function(tools_target name comment command)
    add_custom_target(${name} COMMAND sh -c "${command}" WORKING_DIRECTORY ${here} COMMENT "${comment}"
        USES_TERMINAL VERBATIM)
endfunction()

tools_target(format "clang-format, in place" "${every_source} | ${that_exist} | xargs -0 clang-format -i")
tools_target(format-check "clang-format" "${every_source} | ${that_exist} | xargs -0 clang-format --dry-run -Werror")

# .clang-tidy names the checks. The tests' own programs are not looked at: their long functions are tables.
tools_target(tidy "clang-tidy"
    "git ls-files -z -- '${own_sources}' | xargs -0 -n 4 -P 2 clang-tidy -p '${CMAKE_BINARY_DIR}' --quiet")
# clang-tidy reads what is generated, too: the pages' bytes.
add_dependencies(tidy postern)

tools_target(cppcheck "cppcheck"
    "cppcheck --quiet --error-exitcode=1 --enable=warning,performance,portability,style --inline-suppr --std=c11 \
    --language=c --library=posix,gnu -D_GNU_SOURCE -DCPPCHECK --suppressions-list=tests/cppcheck.supp -I . \
    --template='{file}:{line}: {message} [{id}]' $(git ls-files -- '${own_sources}')")

add_custom_target(check COMMAND ${here}/tests/layout COMMAND ${CMAKE_CTEST_COMMAND} --output-on-failure --no-tests=error
    WORKING_DIRECTORY ${CMAKE_BINARY_DIR} COMMENT "layout, unit tests" USES_TERMINAL)
add_dependencies(check format-check)
