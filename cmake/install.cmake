# SPDX-License-Identifier: Apache-2.0
# install: libraries, headers, programs, clgazeConfig.cmake and clgaze.pc, in the components of Debian's
# packages: runtime (libclgaze1), dev (libclgaze-dev) and tools (clgaze-tools).

install(FILES ${public_headers} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/clgaze COMPONENT dev)
install(TARGETS clgaze EXPORT clgaze_shared
        LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT runtime NAMELINK_COMPONENT dev
        ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT dev
        RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT runtime)
install(TARGETS clgaze_static EXPORT clgaze_static ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT dev)
if(programs)
    install(TARGETS ${programs} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT tools)
    foreach(name IN LISTS programs)
        if(EXISTS ${PROJECT_SOURCE_DIR}/docs/man/${name}.1)
            install(FILES ${PROJECT_SOURCE_DIR}/docs/man/${name}.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1
                    COMPONENT tools)
        endif()
    endforeach()
endif()

# find_package(clgaze): two sets of targets, because only the static library
# asks its user for CLBlast.
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/clgaze)
install(EXPORT clgaze_shared NAMESPACE clgaze:: FILE clgazeShared.cmake DESTINATION ${package_dir} COMPONENT dev)
install(EXPORT clgaze_static NAMESPACE clgaze:: FILE clgazeStatic.cmake DESTINATION ${package_dir} COMPONENT dev)
configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/clgazeConfig.cmake.in
                              ${PROJECT_BINARY_DIR}/clgazeConfig.cmake
                              INSTALL_DESTINATION ${package_dir} NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/clgazeConfigVersion.cmake
                                 VERSION ${PROJECT_VERSION} COMPATIBILITY SameMajorVersion)
install(FILES ${PROJECT_BINARY_DIR}/clgazeConfig.cmake ${PROJECT_BINARY_DIR}/clgazeConfigVersion.cmake
        DESTINATION ${package_dir} COMPONENT dev)

# pkg-config: the prefix is found from where clgaze.pc lies, so that an
# installed tree can be moved.
if(IS_ABSOLUTE "${CMAKE_INSTALL_LIBDIR}" OR IS_ABSOLUTE "${CMAKE_INSTALL_INCLUDEDIR}")
    set(pc_prefix ${CMAKE_INSTALL_PREFIX})
    set(pc_libdir ${CMAKE_INSTALL_FULL_LIBDIR})
    set(pc_includedir ${CMAKE_INSTALL_FULL_INCLUDEDIR})
else()
    file(RELATIVE_PATH up /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
    string(REGEX REPLACE "/$" "" up ${up})
    set(pc_prefix "\${pcfiledir}/${up}")
    set(pc_libdir "\${prefix}/${CMAKE_INSTALL_LIBDIR}")
    set(pc_includedir "\${prefix}/${CMAKE_INSTALL_INCLUDEDIR}")
endif()
if(CLGAZE_WITH_CLBLAST)
    set(pc_requires_private "Requires.private: clblast\n")
else()
    set(pc_requires_private "")
endif()
configure_file(${PROJECT_SOURCE_DIR}/cmake/clgaze.pc.in ${PROJECT_BINARY_DIR}/clgaze.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/clgaze.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT dev)

if(top)
    include(cmake/package.cmake)
endif()
